"""The commands of ``rapport``, one file a topic: arguments in, the work called, the result shown."""
