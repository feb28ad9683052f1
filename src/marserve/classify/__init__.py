"""``marserve classify``: many pictures, results that a later run goes on from."""
