"""The daemon as a service: reports to systemd, operators and browsers.

overview.py collects the state of the daemon from its messages; journal.py (the log), notify.py (systemd), metrics.py,
pictures.py and health.py are observers that report it, put together by runtime/observers.py. For HTTP, web/server.py
accepts connections and web/connection.py serves each of them: request.py parses the request, access.py decides whether
to serve it, routes.py makes the response (response.py). refusals.py counts refused requests, throttle.py limits the
processor time.
"""
