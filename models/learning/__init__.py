"""Online learning: River estimators by name, predict first and learn later, progressive metrics, snapshots."""
