/// The style of the status page: dark and light as the reader's system is, one column on a phone.
enum StatusPageStyle {
    static let text = #"""
        :root {
          --page: #f6f7f9; --card: #ffffff; --ink: #1a2230; --soft: #5c6778; --line: #e1e5eb;
          --good: #1f8a5b; --info: #2f6fd6; --warn: #b97509; --bad: #cc3344; --extra: #7a52c7; --grid: #edf0f4;
        }
        @media (prefers-color-scheme: dark) {
          :root {
            --page: #10141b; --card: #181e28; --ink: #e6ebf2; --soft: #94a1b3; --line: #2a3342;
            --good: #3fbf88; --info: #6ba4ff; --warn: #e0a545; --bad: #ff6b78; --extra: #b095f5; --grid: #222a36;
          }
        }
        * { box-sizing: border-box; }
        body {
          margin: 0 auto; padding: 1.25rem; max-width: 76rem; background: var(--page); color: var(--ink);
          font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
          font-variant-numeric: tabular-nums;
        }
        header { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem .8rem; margin-bottom: 1rem; }
        h1 { font-size: 1.5rem; letter-spacing: -.02em; margin: 0; }
        h2 { font-size: 1rem; margin: 0 0 .6rem; }
        #about { margin: 0; color: var(--soft); flex: 1 1 16rem; }
        .pill { border-radius: 1rem; padding: .1rem .7rem; font-size: .85rem; font-weight: 600; border: 1px solid; color: var(--soft); }
        .good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); } .soft { color: var(--soft); }
        #alarm { background: var(--card); border: 1px solid var(--bad); border-left-width: 4px; border-radius: .6rem; padding: .6rem .9rem; }
        section { background: var(--card); border: 1px solid var(--line); border-radius: .8rem; padding: 1rem; margin-bottom: 1rem; min-width: 0; }
        .tiles, .charts { background: none; border: 0; padding: 0; display: grid; gap: 1rem; }
        .tiles { grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
        .tile { background: var(--card); border: 1px solid var(--line); border-radius: .8rem; padding: .8rem 1rem; }
        .tile b { display: block; font-size: 1.6rem; line-height: 1.2; font-weight: 650; letter-spacing: -.02em; }
        .tile span { color: var(--soft); font-size: .85rem; }
        .charts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); }
        figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: .8rem; padding: 1rem; min-width: 0; }
        figcaption { font-weight: 600; margin-bottom: .5rem; display: flex; flex-wrap: wrap; gap: .1rem .8rem; justify-content: space-between; min-height: 2.9em; align-content: flex-start; }
        .legend { font-weight: 400; font-size: .82rem; color: var(--soft); }
        .legend span { white-space: nowrap; }
        .legend i { display: inline-block; width: .6rem; height: .6rem; border-radius: 2px; margin: 0 .3rem 0 .6rem; }
        .chart svg { display: block; width: 100%; height: 9.5rem; overflow: visible; }
        .chart text { fill: var(--soft); font-size: 11px; }
        .chart .grid { stroke: var(--grid); stroke-width: 1; vector-effect: non-scaling-stroke; }
        .table { overflow-x: auto; }
        table { border-collapse: collapse; width: 100%; font-size: .92rem; }
        th { text-align: left; color: var(--soft); font-weight: 500; font-size: .8rem; }
        th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
        tr:last-child td { border-bottom: 0; }
        td.path, td.wrap { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
        code, td.path { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .88em; }
        .empty { color: var(--soft); margin: 0; }
        .c-2xx { --c: var(--good); } .c-3xx { --c: var(--info); } .c-4xx { --c: var(--warn); } .c-5xx { --c: var(--bad); }
        .c-p50 { --c: var(--info); } .c-p95 { --c: var(--extra); } .c-p99 { --c: var(--bad); }
        .c-0 { --c: var(--warn); } .c-1 { --c: var(--bad); } .c-2 { --c: var(--extra); } .c-3 { --c: var(--info); } .c-4 { --c: var(--good); } .c-5 { --c: var(--soft); }
        .area { fill: var(--c); fill-opacity: .75; stroke: none; }
        .line { fill: none; stroke: var(--c); stroke-width: 1.6; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
        .legend span { white-space: nowrap; }
        .legend i { background: var(--c); }
        a { color: var(--info); }
        footer, noscript { color: var(--soft); font-size: .9rem; }
        @media (max-width: 36rem) {
          body { padding: .8rem; } section, figure { padding: .8rem; } .tiles { grid-template-columns: 1fr 1fr; gap: .7rem; }
          .tile b { font-size: 1.35rem; }
          figcaption { min-height: 0; }
          #refusals tr > :nth-child(4), #refusals tr > :nth-child(6), #refusals tr > :nth-child(7), #refusals tr:nth-child(n+21) { display: none; }
        }
        """#
}
