"""HTTP on the worker: web views, health, metrics and the page.

`barstream.serve.routes.register` adds everything to a Faust app; `barstream.serve.reads.Reads` is
what the views ask of the engine.  A read goes through `views`, `owner` (who has the series),
`query` (the bars of a span) and the finals view of its partition, and `render`.
"""
