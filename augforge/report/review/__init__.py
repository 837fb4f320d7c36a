"""A page on which a person judges source images: what speaks against each, the picture, and keep or drop."""
