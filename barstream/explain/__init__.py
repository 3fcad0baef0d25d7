"""Why a bar is as it is, or is not there: facts gathered from Kafka, and what follows from them.

`gathering` reads the topics, `judging` and `uppers` decide without any I/O, `reports` gives it
names for machines; printing is the command's.
"""
