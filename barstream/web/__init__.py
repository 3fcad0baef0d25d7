"""HTTP on the worker: web views, health, metrics and the page.

`barstream.web.serve.register` adds everything to a Faust app; `barstream.web.reads.Reads` is
what the views ask of the engine.
"""
