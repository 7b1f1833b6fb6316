"""Small helpers without a subject of their own: arguments, messages, files, memory, JSON."""
