"""The style sheet of the page: one column, the reader's own fonts, light and dark, nothing to load.

The one invariant: text stands out from its ground by 4.5 to 1 and data by 3 to 1, in light and in dark, and
nothing is wider than the page: what does not fit scrolls by itself and shows at its edge that it does.
"""

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --paper: #fdfdfb; --soft: #5d5d63; --rule: #d9d9d4;
  --wash: #f1f1ec; --alarm: #9c2f00; --alarm-wash: #fbeee6; --link: #00639c; --shade: #1c1c1e33;
  --first: #0072b2; --second: #d55e00; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e6e3; --paper: #17181a; --soft: #a2a2a6;
  --rule: #3a3b3f; --wash: #212327; --alarm: #ff9e6b; --alarm-wash: #33231a; --link: #6cb8e8;
  --shade: #e6e6e333; --first: #56b4e9; --second: #e69f00; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .6rem; padding-top: .7rem; border-top: 1px solid var(--rule); }
p, ul, dl { max-width: 46rem; margin: .6rem 0; }
.soft, .caption, figcaption { color: var(--soft); font-size: .88rem; }
figcaption { max-width: 46rem; margin-top: -.3rem; }
.note { margin: .15rem 0; }
.caption { margin: 1rem 0 0; }
nav { font-size: .88rem; margin: 1rem 0; }
nav a { display: inline-block; margin-right: 1rem; padding: .2rem 0; white-space: nowrap; }
a { color: var(--link); }
.box { border-left: 4px solid var(--link); background: var(--wash); padding: .8rem 1rem; margin: 1.2rem 0; }
.box.alarm { border-color: var(--alarm); background: var(--alarm-wash); }
.box h2 { border: 0; margin: 0; padding: 0; }
.box.alarm h2 { color: var(--alarm); }
.wide { overflow-x: auto; margin: .4rem 0 .8rem; background:
  linear-gradient(to left, var(--paper) 50%, transparent) right / 2rem 100% no-repeat local,
  linear-gradient(to left, var(--shade), transparent) right / .6rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
thead th { font-weight: 600; border-bottom-color: var(--soft); vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.words, th.words { text-align: left; white-space: normal; min-width: 14rem; }
td.words { overflow-wrap: anywhere; }
tbody th { font-weight: 500; white-space: normal; min-width: 6.5rem; }
tr.main th, tr.main td { font-weight: 700; }
dt { font-weight: 600; margin-top: .5rem; }
dd { margin: 0; }
figure { margin: 1rem 0; }
figure svg { width: 100%; max-width: 34rem; min-width: 20rem; height: auto; display: block; }
figure svg.broad { max-width: 50rem; min-width: 38rem; }
details { margin: .8rem 0; }
summary { cursor: pointer; color: var(--link); }
pre { background: var(--wash); padding: .8rem 1rem; overflow-x: auto; font-size: .85rem; line-height: 1.4;
  overflow-wrap: normal; }
@media (max-width: 56rem) { table { font-size: .88rem; } th, td { padding: .3rem .4rem; } }
@media (max-width: 40rem) {
  body { padding: 1.2rem 1rem 3rem; }
  .wide th:first-child { position: sticky; left: 0; background: var(--paper); }
  td.words, th.words { min-width: 11rem; }
}
@media print {
  html { font-size: 10pt; }
  body { max-width: none; padding: 0; }
  nav { display: none; }
  h2 { break-after: avoid; margin-top: 1.6rem; }
  figure, tr, dd { break-inside: avoid; }
  dt { break-after: avoid; }
  .wide { overflow: visible; background: none; }
  table { font-size: .82rem; }
  th, td { padding: .15rem .4rem; }
  td.words, th.words { min-width: 8rem; }
  figure svg, figure svg.broad { max-width: 32rem; min-width: 0; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  .box details { display: none; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""
