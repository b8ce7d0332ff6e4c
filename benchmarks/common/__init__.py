"""What several benchmarks share. A benchmark imports from here and from ``peer_*.py``, never from another benchmark.

results     options, results with their provenance, pages            (imports neither torch nor scipy)
timing      running and timing of processes, turns                   (the same)
fish        the photographs of Fish4Knowledge, grids of images
judging     images compared with test photographs; classifiers as judges
stepping    the training loop without files, operations of a step
synthetic   images saved as a synthetic collection; what studies of one collection share
studio      a Studio server, Chromium, and many reviewers at once
"""
