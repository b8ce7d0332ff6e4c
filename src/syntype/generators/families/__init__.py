"""Generator families, one file each: the file's name is the family's name. Nothing else belongs in this folder."""

__all__: list[str] = []
