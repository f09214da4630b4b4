"""The page: watch runs in a browser and answer their questions.

`app` has the routes and serves them, `origin_guard` refuses strangers, `run_manager` drives runs,
`thread_watch` reads stored runs, `run_list` lists and searches them, `operations` shows the queue,
`agui` speaks to chat clients, `static` is the page itself.
"""
