"""The study: do synthetic images help to identify the rare species?"""
