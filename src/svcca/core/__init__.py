"""Arrays in, numbers out: no models, no layer names, no files, no figures."""
