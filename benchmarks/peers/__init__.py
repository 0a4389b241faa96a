"""What a user would pick instead of Rapport, each as its own users would write it, a process a peer.

``python -m benchmarks.peers.NAME BROKER TOPIC COUNT FOLDER`` reads COUNT records of TOPIC, which are there when it starts, and
prints one JSON line. ``benchmarks/throughput.py`` runs them in turn.
"""
