"""The page: watch runs in a browser and answer their questions.

`app` has the routes, `guard` keeps strangers out, `hub` drives the runs, `live` is what they
do right now, `views` what is stored of them, `server` serves it all, `static` is the page.
"""
