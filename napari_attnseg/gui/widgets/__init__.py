"""Small widgets that panels are built from; they know Qt but no session."""
