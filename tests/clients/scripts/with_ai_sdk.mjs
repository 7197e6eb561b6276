import {createAnthropic} from '@ai-sdk/anthropic';
import {createGoogleGenerativeAI} from '@ai-sdk/google';
import {createOpenAI} from '@ai-sdk/openai';
import {createOpenAICompatible} from '@ai-sdk/openai-compatible';
import {Output, generateText, isStepCount, streamText, tool} from 'ai';
import {z} from 'zod';
import {PROMPT, play} from './play.mjs';

const responses = (url, model) => createOpenAI({baseURL: `${url}/v1`, apiKey: 'any'})(model);
const openai = (url, model) => createOpenAI({baseURL: `${url}/v1`, apiKey: 'any'}).chat(model);
const compatible = (url, model) =>
  createOpenAICompatible({name: 'semroute', baseURL: `${url}/v1`, apiKey: 'any', includeUsage: true, supportsStructuredOutputs: true})(model);
const anthropic = (url, model) => createAnthropic({baseURL: `${url}/v1`, apiKey: 'any'})(model);
const gemini = (url, model) => createGoogleGenerativeAI({baseURL: `${url}/v1beta`, apiKey: 'any'})(model);

const City = z.object({city: z.string(), population: z.number().int()});

const steps = make => ({
  async text(url, model, saw) {
    const done = await generateText({model: make(url, model), prompt: PROMPT});
    saw.text = done.text;
    saw.usage = [done.usage.inputTokens, done.usage.outputTokens];
  },
  async stream(url, model, saw) {
    let failed = null;
    const done = streamText({model: make(url, model), prompt: PROMPT, onError: ({error}) => { failed = error; }});
    for await (const piece of done.textStream) saw.text += piece;
    if (failed) throw failed;
    const usage = await done.usage;
    saw.usage = [usage.inputTokens, usage.outputTokens];
  },
  async tools(url, model, saw) {
    const tools = {
      get_weather: tool({description: 'The weather of a city.', inputSchema: z.object({city: z.string()}), execute: async ({city}) => saw.getWeather(city)}),
      get_time: tool({description: 'The time of a zone.', inputSchema: z.object({zone: z.string()}), execute: async ({zone}) => saw.getTime(zone)}),
    };
    saw.text = (await generateText({model: make(url, model), prompt: PROMPT, tools, stopWhen: isStepCount(4)})).text;
  },
  async json(url, model, saw) {
    saw.value = (await generateText({model: make(url, model), prompt: PROMPT, output: Output.object({schema: City})})).output;
  },
});

await play({
  responses: steps(responses),
  openai: steps(openai),
  openai_compatible: steps(compatible),
  anthropic: steps(anthropic),
  gemini: steps(gemini),
});
