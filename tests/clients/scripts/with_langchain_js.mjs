import {ChatAnthropic} from '@langchain/anthropic';
import {HumanMessage} from '@langchain/core/messages';
import {tool} from '@langchain/core/tools';
import {ChatOpenAI} from '@langchain/openai';
import {z} from 'zod';
import {PROMPT, play} from './play.mjs';

const openai = (url, model) => new ChatOpenAI({model, apiKey: 'any', configuration: {baseURL: `${url}/v1`}});
const responses = (url, model) =>
  new ChatOpenAI({model, apiKey: 'any', configuration: {baseURL: `${url}/v1`}, useResponsesApi: true});
const anthropic = (url, model) => new ChatAnthropic({model, apiKey: 'any', anthropicApiUrl: url, maxTokens: 500});

const City = z.object({city: z.string(), population: z.number().int()});
const usage = ({usage_metadata}) => [usage_metadata?.input_tokens, usage_metadata?.output_tokens];

const steps = (make, method) => ({
  async text(url, model, saw) {
    const done = await make(url, model).invoke(PROMPT);
    saw.text = done.text;
    saw.usage = usage(done);
  },
  async stream(url, model, saw) {
    let whole = null;
    for await (const piece of await make(url, model).stream(PROMPT)) {
      saw.text += piece.text;
      whole = whole ? whole.concat(piece) : piece;
    }
    saw.usage = usage(whole);
  },
  async tools(url, model, saw) {
    const own = [
      tool(async ({city}) => saw.getWeather(city), {name: 'get_weather', description: 'The weather.', schema: z.object({city: z.string()})}),
      tool(async ({zone}) => saw.getTime(zone), {name: 'get_time', description: 'The time.', schema: z.object({zone: z.string()})}),
    ];
    const chat = make(url, model).bindTools(own);
    const messages = [new HumanMessage(PROMPT)];
    for (let turn = 0; turn < 3; turn++) {
      const said = await chat.invoke(messages);
      messages.push(said);
      if (!said.tool_calls?.length) { saw.text = said.text; return; }
      for (const call of said.tool_calls) messages.push(await own.find(({name}) => name === call.name).invoke(call));
    }
  },
  async json(url, model, saw) {
    saw.value = await make(url, model).withStructuredOutput(City, {name: 'city', method}).invoke(PROMPT);
  },
});

await play({
  openai: steps(openai, 'jsonSchema'),
  responses: steps(responses, 'jsonSchema'),
  anthropic: steps(anthropic, 'functionCalling'),
});
