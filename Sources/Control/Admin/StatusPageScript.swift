/// The script of the status page. What it shows comes from requests of strangers too: it becomes text, never markup.
enum StatusPageScript {
    static let text = #"""
        'use strict';
        const svgNamespace = 'http://www.w3.org/2000/svg';
        const byId = id => document.getElementById(id);
        function node(name, attributes, ...children) {
          const made = document.createElement(name);
          for (const key in attributes || {}) made.setAttribute(key, attributes[key]);
          made.append(...children);
          return made;
        }
        function drawn(name, attributes, text) {
          const made = document.createElementNS(svgNamespace, name);
          for (const key in attributes) made.setAttribute(key, attributes[key]);
          if (text !== undefined) made.textContent = text;
          return made;
        }
        const replace = (id, ...children) => byId(id).replaceChildren(...children);
        const sum = numbers => numbers.reduce((a, b) => a + b, 0);

        function count(n) {
          if (n >= 1e9) return (n / 1e9).toFixed(1) + 'G';
          if (n >= 1e6) return (n / 1e6).toFixed(1) + 'M';
          if (n >= 1e4) return (n / 1e3).toFixed(1) + 'k';
          return n >= 100 || Number.isInteger(n) ? String(Math.round(n)) : n.toFixed(1);
        }
        function duration(us) {
          if (us >= 1e6) return (us / 1e6).toFixed(us >= 1e7 ? 0 : 1) + ' s';
          if (us >= 1e3) return (us / 1e3).toFixed(us >= 1e4 ? 0 : 1) + ' ms';
          return Math.round(us) + ' µs';
        }
        function age(seconds) {
          if (seconds < 90) return Math.max(0, Math.round(seconds)) + ' s';
          if (seconds < 5400) return Math.round(seconds / 60) + ' min';
          if (seconds < 172800) return Math.round(seconds / 3600) + ' h';
          return Math.round(seconds / 86400) + ' days';
        }
        function niceTop(value) {
          if (value <= 0) return 1;
          const power = Math.pow(10, Math.floor(Math.log10(value)));
          for (const step of [1, 2, 5, 10]) if (value <= step * power) return step * power;
          return 10 * power;
        }

        // 60 columns: a line that a person can read. As much time as there is something to show of.
        const columns = 60, width = 600, height = 150;
        let span = 60;
        function grouped(values, seconds, combine) {
          const filled = new Array(Math.max(0, seconds - values.length)).fill(0).concat(values.slice(-seconds));
          const step = seconds / columns, found = [];
          for (let i = 0; i < columns; i++) found.push(combine(filled.slice(i * step, (i + 1) * step)));
          return found;
        }
        const mean = part => sum(part) / part.length;
        const most = part => Math.max(...part);

        function chart(id, series, stacked, label, unit) {
          const totals = stacked
            ? series[0] ? series[0].values.map((_, i) => sum(series.map(s => s.values[i]))) : [0]
            : series.flatMap(s => s.values);
          const top = niceTop(Math.max(0, ...totals) || unit);
          const image = drawn('svg', {viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label});
          for (const share of [0, .5, 1])
            image.append(drawn('line', {class: 'grid', x1: 0, x2: width, y1: height * share, y2: height * share}));
          const x = i => i * width / (columns - 1), y = v => height - Math.min(v, top) / top * height;
          let below = new Array(columns).fill(0);
          for (const one of series) {
            if (stacked) {
              const above = one.values.map((v, i) => v + below[i]);
              const up = above.map((v, i) => `${x(i)},${y(v)}`), down = below.map((v, i) => `${x(i)},${y(v)}`).reverse();
              image.append(drawn('polygon', {class: 'area c-' + one.color, points: up.concat(down).join(' ')}));
              below = above;
            } else {
              image.append(drawn('polyline', {class: 'line c-' + one.color, points: one.values.map((v, i) => `${x(i)},${y(v)}`).join(' ')}));
            }
          }
          const format = id === 'latency' ? duration : count;
          replace(id, image, node('div', {class: 'legend'}, `${format(top)} at the top, last ${span === 60 ? 'minute' : span / 60 + ' minutes'}`));
          replace(id + '-legend', ...series.map(one => node('span', {}, node('i', {class: 'c-' + one.color}), one.name)));
        }

        function table(id, headings, rows, nothing) {
          if (!rows.length) return replace(id, node('p', {class: 'empty'}, nothing));
          const head = node('tr', {}, ...headings.map(h => node('th', {scope: 'col'}, h)));
          const body = rows.map(cells => node('tr', {}, ...cells.map(cell =>
            typeof cell === 'object' ? node('td', {class: cell.kind}, cell.text) : node('td', {}, String(cell)))));
          replace(id, node('table', {}, node('thead', {}, head), node('tbody', {}, ...body)));
        }

        function tile(value, label, kind) {
          return node('div', {class: 'tile'}, node('b', {class: kind || ''}, value), node('span', {}, label));
        }

        function show(s) {
          const h = s.history, length = (h.open || []).length;
          span = length <= 60 ? 60 : length <= 120 ? 120 : 300;
          const ready = s.not_ready === null;
          byId('state').textContent = ready ? 'ready' : 'not ready';
          byId('state').className = 'pill ' + (ready ? 'good' : 'bad');
          byId('about').textContent = `version ${s.version}, up ${age((s.time - s.started) / 1000)}, ` +
            `${s.workers} worker${s.workers === 1 ? '' : 's'}, ` + s.listeners.map(l => `${l.name} ${l.address}`).join(', ');
          const alarms = [];
          if (!ready) alarms.push(s.not_ready);
          if (s.reload_failure) alarms.push('The last reload changed nothing: ' + s.reload_failure);
          if (s.access_lines_lost) alarms.push(`${count(s.access_lines_lost)} access log lines lost`);
          byId('alarm').hidden = !alarms.length;
          byId('alarm').textContent = alarms.join(' · ');

          const classes = ['2xx', '3xx', '4xx', '5xx'];
          const last = values => sum((values || []).slice(-10)) / 10;
          const rate = sum(classes.map(c => last(h[c])));
          const errors = rate ? last(h['5xx']) / rate * 100 : 0;
          const recent = (h.p95 || []).slice(-10).filter(v => v > 0);
          const looked = s.token_cache_hits + s.token_cache_misses;
          replace('tiles',
            tile(count(rate), 'requests a second'),
            tile(errors.toFixed(1) + ' %', 'server errors', errors >= 1 ? 'bad' : ''),
            tile(recent.length ? duration(Math.max(...recent)) : '–', '95 of 100 are faster than'),
            tile(count(s.connections_open), 'open connections'),
            tile(looked ? (s.token_cache_hits / looked * 100).toFixed(1) + ' %' : '–', 'tokens known already'));

          chart('traffic', classes.map(c => ({name: c, color: c, values: grouped(h[c] || [], span, mean)})), true, 'Requests a second by status', 1);
          chart('latency', ['p50', 'p95', 'p99'].map(p => ({name: p, color: p, values: grouped(h[p] || [], span, most)})), false, 'Latency', 1000);
          const reasons = Object.entries(h.reasons).sort((a, b) => sum(b[1]) - sum(a[1]));
          const shown = reasons.slice(0, 5), rest = reasons.slice(5);
          if (rest.length) shown.push(['others', rest[0][1].map((_, i) => sum(rest.map(r => r[1][i])))]);
          chart('reasons', shown.map(([name, values], i) => ({name, color: i, values: grouped(values, span, mean)})), true, 'Refusals and failures a second by reason', 1);

          table('upstreams', ['upstream', 'balance', 'server', 'weight', 'health', 'in flight', 'failures'], s.upstreams.flatMap(u => u.servers.map((server, i) => [
            i ? '' : u.name, i ? '' : u.balance, {kind: 'path', text: server.address}, server.weight,
            health(server), count(server.in_flight), server.failures ? {kind: 'warn', text: count(server.failures)} : 0])), 'No upstream.');
          table('issuers', ['name', 'issuer', 'algorithms', 'keys from', 'usable keys', 'fetched', 'failed fetches'], s.issuers.map(i => [
            i.name, {kind: 'wrap', text: i.issuer === null ? 'any' : i.issuer}, i.algorithms, i.source,
            i.keys === null ? '–' : i.keys ? i.keys : {kind: 'bad', text: 'none'},
            i.age_seconds === null ? '–' : age(i.age_seconds) + ' ago', i.fetch_failures === null ? '–' : i.fetch_failures]), 'No issuer: every route is open.');
          table('routes', ['path', 'host', 'methods', 'who', 'requires', 'scopes', 'upstream'], s.routes.map(r => [
            {kind: 'path', text: r[2]}, {kind: 'wrap', text: r[0]}, r[1], r[3] === 'none' ? {kind: 'warn', text: 'everybody'} : r[3], {kind: 'wrap', text: r[4]}, r[5], r[r.length - 1]]), 'No route: everything is answered 404.');
          table('refusals', ['when', 'status', 'reason', 'method', 'path', 'route', 'client'], s.refusals.map(r => [
            age((s.time - r.time) / 1000) + ' ago', {kind: r.status >= 500 ? 'bad' : 'warn', text: String(r.status)},
            r.detail && r.detail !== r.reason ? {kind: 'wrap', text: `${r.reason} (${r.detail})`} : r.reason,
            r.method || '–', {kind: 'path', text: r.path || '–'}, {kind: 'path', text: r.route || '–'}, r.client || '–']), 'None.');
        }
        function health(server) {
          if (server.health === null) return {kind: 'soft', text: 'not checked'};
          return {kind: server.health === 'up' ? 'good' : server.health === 'down' ? 'bad' : 'warn', text: server.health};
        }

        let misses = 0;
        async function turn() {
          try {
            const answer = await fetch('/status.json', {cache: 'no-store'});
            if (!answer.ok) throw new Error('status ' + answer.status);
            show(await answer.json());
            misses = 0;
          } catch (error) {
            misses += 1;
            if (misses > 1) {
              byId('state').textContent = 'no answer';
              byId('state').className = 'pill bad';
            }
          }
          setTimeout(turn, document.hidden ? 10000 : 2000);
        }
        turn();
        """#
}
