"""Small tools that know nothing of networks: arguments, messages, files."""
