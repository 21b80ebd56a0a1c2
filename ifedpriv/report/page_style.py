"""The style sheet of the page: one column, the reader's own fonts, light and dark, nothing to load."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --paper: #fdfdfb; --soft: #5d5d63; --rule: #d9d9d4;
  --wash: #f1f1ec; --alarm: #9c2f00; --alarm-wash: #fbeee6; --link: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e3; --paper: #17181a; --soft: #a2a2a6;
  --rule: #3a3b3f; --wash: #212327; --alarm: #ff9e6b; --alarm-wash: #33231a; --link: #6cb8e8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .6rem; padding-top: .7rem; border-top: 1px solid var(--rule); }
p, ul, dl { max-width: 46rem; margin: .6rem 0; }
.soft, figcaption, caption { color: var(--soft); font-size: .88rem; }
nav { font-size: .88rem; margin: 1rem 0; }
nav a { margin-right: 1rem; white-space: nowrap; }
a { color: var(--link); }
.box { border-left: 4px solid var(--link); background: var(--wash); padding: .8rem 1rem; margin: 1.2rem 0; }
.box.alarm { border-color: var(--alarm); background: var(--alarm-wash); }
.box h2 { border: 0; margin: 0; padding: 0; }
.box.alarm h2 { color: var(--alarm); }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .3rem .75rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule);
  vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.words, th.words { text-align: left; white-space: normal; }
tbody th { font-weight: 500; }
thead th { font-weight: 600; border-bottom-color: var(--soft); }
tr.main th, tr.main td { font-weight: 700; }
dt { font-weight: 600; margin-top: .5rem; }
dd { margin: 0; }
figure { margin: 1rem 0; overflow-x: auto; }
figure svg { max-width: 100%; min-width: 28rem; height: auto; display: block; }
details { margin: .8rem 0; }
summary { cursor: pointer; color: var(--link); }
pre { background: var(--wash); padding: .8rem 1rem; overflow-x: auto; font-size: .85rem; line-height: 1.4;
  overflow-wrap: normal; }
@media print { body { max-width: none; padding: 0; } nav { display: none; } figure { break-inside: avoid; } }
"""
