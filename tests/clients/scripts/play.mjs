// What play.py is, for the clients in JavaScript.
export const PROMPT = 'How warm is it in Paris?';
const SCENES = {text: 'text', stream: 'text', tools: 'tools', json: 'json', json_stream: 'json', continued: 'text'};
const FAILING = {break: 'stream', limited: 'text', unknown: 'text'};

class Saw {
  text = '';
  usage = [];
  done = [];
  value = null;
  getWeather(city) { this.done.push(['get_weather', city]); return '18 degrees'; }
  getTime(zone) { this.done.push(['get_time', zone]); return '12:00'; }
}

async function forget(stage) {
  const answer = await fetch(`${stage}/forget`, {method: 'POST', body: '{}'});
  return (await answer.json()).asked;
}

function said(error) {
  const words = [];
  for (let at = error; at && words.length < 5; at = at.cause ?? at.lastError) words.push(String(at.message ?? at).slice(0, 600));
  return words.join(' <- ');
}

export async function play(wires) {
  const asked = JSON.parse(process.env.PLAY);
  for (const [wire, steps] of Object.entries(wires)) {
    for (const run of asked.runs) {
      for (const [scene, step] of Object.entries({...Object.fromEntries(Object.keys(SCENES).map(name => [name, name])), ...FAILING})) {
        if (!(step in steps) || !(wire in run.models)) continue;
        await forget(asked.stage);
        const saw = new Saw(), begun = performance.now();
        let raised = null;
        try { await steps[step](run.url, `${run.models[wire]}-${SCENES[scene] ?? scene}`, saw); }
        catch (error) { raised = error; }
        const {text, usage, done, value} = saw;
        const told = {text, usage, done, value, error: raised ? raised.name ?? raised.constructor.name : '', said: said(raised)};
        const line = {wire, run: run.run, scene, ...told, asked: await forget(asked.stage), took_s: (performance.now() - begun) / 1000};
        process.stdout.write(`\nPLAYED ${JSON.stringify(line)}\n`);
      }
    }
  }
  process.exit(0);
}
