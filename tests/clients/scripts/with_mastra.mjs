import {Agent} from '@mastra/core/agent';
import {createTool} from '@mastra/core/tools';
import {z} from 'zod';
import {PROMPT, play} from './play.mjs';

const openai = (url, model) => ({id: `semroute/${model}`, url: `${url}/v1`, apiKey: 'any'});
const responses = (url, model) => ({id: `semroute/${model}`, url: `${url}/v1`, apiKey: 'any', api: 'responses'});

const City = z.object({city: z.string(), population: z.number().int()});

const steps = make => {
  const agent = (url, model, tools = {}) =>
    new Agent({id: 'it', name: 'it', instructions: 'Help.', model: make(url, model), tools});
  return {
    async text(url, model, saw) {
      const done = await agent(url, model).generate(PROMPT);
      saw.text = done.text;
      saw.usage = [done.totalUsage.inputTokens, done.totalUsage.outputTokens];
    },
    async stream(url, model, saw) {
      const done = await agent(url, model).stream(PROMPT);
      for await (const piece of done.fullStream) {
        if (piece.type === 'text-delta') saw.text += piece.payload.text;
        if (piece.type === 'error') throw piece.payload.error;
      }
      const usage = await done.totalUsage;
      saw.usage = [usage.inputTokens, usage.outputTokens];
    },
    async tools(url, model, saw) {
      const tools = {
        get_weather: createTool({id: 'get_weather', description: 'The weather of a city.', inputSchema: z.object({city: z.string()}), execute: async ({city}) => saw.getWeather(city)}),
        get_time: createTool({id: 'get_time', description: 'The time of a zone.', inputSchema: z.object({zone: z.string()}), execute: async ({zone}) => saw.getTime(zone)}),
      };
      saw.text = (await agent(url, model, tools).generate(PROMPT, {maxSteps: 4})).text;
    },
    async json(url, model, saw) {
      saw.value = (await agent(url, model).generate(PROMPT, {structuredOutput: {schema: City}})).object;
    },
  };
};

await play({openai: steps(openai), responses: steps(responses)});
