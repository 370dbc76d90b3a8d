def report(rows): return ""
