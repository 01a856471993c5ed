"""One file a step: finished artifacts and options in, a finished artifact out.

Every step resumes where it was killed.
"""
