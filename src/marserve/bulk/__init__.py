"""``marserve bulk``: many pictures, classified by Ray Data on one machine or on a cluster, without a server between."""
