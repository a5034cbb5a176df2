"""The daemon as a service: what it tells systemd, operators and browsers.

overview.py gathers what the daemon's messages say of it; journal.py (the log), notify.py (systemd), metrics.py,
pictures.py and health.py pass that on, and observers.py puts them together. Over HTTP, web.py accepts connections and
connection.py serves one: request.py parses, access.py decides whether to serve it, routes.py makes the response.py.
refusals.py counts what was not served, throttle.py bounds the processor time.
"""
