"""The stages of the pipeline: source, prepare, extract, train, evaluate, tables. A notebook calls one of each."""
