"""A report of a dataset as one page of HTML, and the server that shows it with pages of thumbnails.

`facts` gathers what the index says, `pixels` what a bounded number of decoded samples shows, `page` writes both.
"""
