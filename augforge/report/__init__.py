"""Pictures and tables for people: what a dataset holds, what a build did, what an op or a source expects."""
