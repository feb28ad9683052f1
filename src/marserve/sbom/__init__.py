"""What a stack is made of, for those who have to know: a software bill of materials in CycloneDX's form.

Three parts: Python's packages with the libraries that their wheels carry, what is inside TorchServe's jar, and Java.
"""
