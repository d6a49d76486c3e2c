"""The risk of a dataset before anything is done to it: what is in its pictures, files and names, and what to do."""
