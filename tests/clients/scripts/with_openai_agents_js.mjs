import {Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, run, setTracingDisabled, tool} from '@openai/agents';
import OpenAI from 'openai';
import {z} from 'zod';
import {PROMPT, play} from './play.mjs';

setTracingDisabled(true);
const responses = (url, model) => new OpenAIResponsesModel(new OpenAI({baseURL: `${url}/v1`, apiKey: 'any'}), model);
const openai = (url, model) => new OpenAIChatCompletionsModel(new OpenAI({baseURL: `${url}/v1`, apiKey: 'any'}), model);

const City = z.object({city: z.string(), population: z.number().int()});

const steps = make => ({
  async text(url, model, saw) {
    const done = await run(new Agent({name: 'it', model: make(url, model)}), PROMPT);
    saw.text = done.finalOutput;
    saw.usage = [done.state.usage.inputTokens, done.state.usage.outputTokens];
  },
  async stream(url, model, saw) {
    const done = await run(new Agent({name: 'it', model: make(url, model)}), PROMPT, {stream: true});
    for await (const event of done)
      if (event.type === 'raw_model_stream_event' && event.data.type === 'output_text_delta') saw.text += event.data.delta;
    await done.completed;
    saw.usage = [done.state.usage.inputTokens, done.state.usage.outputTokens];
  },
  async tools(url, model, saw) {
    const tools = [
      tool({name: 'get_weather', description: 'The weather.', parameters: z.object({city: z.string()}), execute: async ({city}) => saw.getWeather(city)}),
      tool({name: 'get_time', description: 'The time.', parameters: z.object({zone: z.string()}), execute: async ({zone}) => saw.getTime(zone)}),
    ];
    saw.text = (await run(new Agent({name: 'it', model: make(url, model), tools}), PROMPT)).finalOutput;
  },
  async json(url, model, saw) {
    saw.value = (await run(new Agent({name: 'it', model: make(url, model), outputType: City}), PROMPT)).finalOutput;
  },
});
const continued = async (url, model, saw) => {
  const agent = new Agent({name: 'it', model: responses(url, model)});
  const first = await run(agent, PROMPT);
  saw.text = (await run(agent, 'And now?', {previousResponseId: first.lastResponseId})).finalOutput;
};

await play({responses: {...steps(responses), continued}, openai: steps(openai)});
