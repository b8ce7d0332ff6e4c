"""Attacks on the whole program, for ``benchmarks/reliability.py``: what a user, a power cut, a full disk or a hostile file could do to it.

stages        the commands that are attacked, their photographs, how they are started, and when two results are the same
kills         ``kill -9`` at random moments, then what a user would do next
disk          a disk that fills up, a disk that cannot be written, a folder that may not be written
two           two processes that write the same folder at once
hostile       damaged and malicious images, tables and zips (``hostile_files`` makes them)
studio        ``kill -9`` on the Studio's jobs, its server, or both
"""
