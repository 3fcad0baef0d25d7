"""HTTP on the worker: web views, health, metrics and the page.

`barstream.serve.routes.register` adds everything to a Faust app; `barstream.serve.reads.Reads` is
what the views ask of the engine.
"""
