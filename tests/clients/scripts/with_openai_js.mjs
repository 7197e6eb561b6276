import OpenAI from 'openai';
import {zodResponseFormat, zodTextFormat} from 'openai/helpers/zod';
import {z} from 'zod';
import {PROMPT, play} from './play.mjs';

const client = url => new OpenAI({baseURL: `${url}/v1`, apiKey: 'any'});

const City = z.object({city: z.string(), population: z.number().int()});
const messages = [{role: 'user', content: PROMPT}];
const schema = name => ({type: 'object', properties: {[name]: {type: 'string'}}, required: [name], additionalProperties: false});
const own = saw => ({get_weather: ({city}) => saw.getWeather(city), get_time: ({zone}) => saw.getTime(zone)});

const openai = {
  async text(url, model, saw) {
    const done = await client(url).chat.completions.create({model, messages});
    saw.text = done.choices[0].message.content;
    saw.usage = [done.usage.prompt_tokens, done.usage.completion_tokens];
  },
  async stream(url, model, saw) {
    const stream = client(url).chat.completions.stream({model, messages, stream_options: {include_usage: true}});
    for await (const chunk of stream) saw.text += chunk.choices[0]?.delta?.content ?? '';
    const usage = await stream.totalUsage();
    saw.usage = [usage.prompt_tokens, usage.completion_tokens];
  },
  async tools(url, model, saw) {
    const called = own(saw);
    const tools = [['get_weather', 'city'], ['get_time', 'zone']].map(([name, parameter]) => ({
      type: 'function',
      function: {name, parameters: schema(parameter), parse: JSON.parse, function: called[name]},
    }));
    saw.text = await client(url).chat.completions.runTools({model, messages, tools}).finalContent();
  },
  async json(url, model, saw) {
    const done = await client(url).chat.completions.parse({model, messages, response_format: zodResponseFormat(City, 'city')});
    saw.value = done.choices[0].message.parsed;
  },
};
const responses = {
  async text(url, model, saw) {
    const done = await client(url).responses.create({model, input: PROMPT});
    saw.text = done.output_text;
    saw.usage = [done.usage.input_tokens, done.usage.output_tokens];
  },
  async stream(url, model, saw) {
    const stream = client(url).responses.stream({model, input: PROMPT});
    for await (const event of stream) if (event.type === 'response.output_text.delta') saw.text += event.delta;
    const {usage} = await stream.finalResponse();
    saw.usage = [usage.input_tokens, usage.output_tokens];
  },
  async tools(url, model, saw) {
    const called = own(saw);
    const tools = [['get_weather', 'city'], ['get_time', 'zone']].map(([name, parameter]) =>
      ({type: 'function', name, parameters: schema(parameter), strict: true}));
    const first = await client(url).responses.create({model, input: PROMPT, tools});
    const results = first.output.filter(({type}) => type === 'function_call').map(call =>
      ({type: 'function_call_output', call_id: call.call_id, output: called[call.name](JSON.parse(call.arguments))}));
    const input = [{role: 'user', content: PROMPT}, ...first.output, ...results];
    saw.text = (await client(url).responses.create({model, input, tools})).output_text;
  },
  async json(url, model, saw) {
    saw.value = (await client(url).responses.parse({model, input: PROMPT, text: {format: zodTextFormat(City, 'city')}})).output_parsed;
  },
};

await play({openai, responses});
