/** Rendering, tokenising and roles on the reference sequences, and the refusal of a second BOS. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { openSafetensors } from "../formats/safetensors.ts";
import type { ChatMessage } from "./document.ts";
import { DocumentEncoder } from "./document-encoder.ts";
import { readTokenizerFolder, type TokenizerFolder } from "./tokenizer-folder.ts";
import { keepMask } from "./window-buffer.ts";
import { ROLES } from "./windows.ts";

const assets = fileURLToPath(new URL("../../assets/tiny-gemma/", import.meta.url));
const reference = fileURLToPath(new URL("../../test/fixtures/tiny-gemma/reference", import.meta.url));

let folder: TokenizerFolder;
let encoder: DocumentEncoder;
beforeAll(async () => {
  folder = await readTokenizerFolder(`${assets}it`);
  encoder = new DocumentEncoder(folder);
});

/** The text of each stretch of tokens with one role. */
function stretches(messages: readonly ChatMessage[], using = encoder): [string, string][] {
  const { tokenIds, roles } = using.encode({ messages });
  const out: [string, string][] = [];
  for (let i = 0; i < tokenIds.length; i++) {
    const text = Buffer.from(using.tokenizer.bytesOf(tokenIds[i])!).toString("latin1");
    const role = ROLES[roles[i]];
    if (out.at(-1)?.[0] === role) out[out.length - 1][1] += text;
    else out.push([role, text]);
  }
  return out.map(([role, text]) => [role, Buffer.from(text, "latin1").toString("utf8")]);
}

function withTemplate(chatTemplate: string): DocumentEncoder {
  return new DocumentEncoder({ ...folder, chatTemplate });
}

describe("the reference sequences", () => {
  it("have the ids and the kept mask that transformers gave", async () => {
    const { sequences } = JSON.parse(await readFile(`${reference}.json`, "utf8")) as {
      sequences: { length: number; text: string; messages: ChatMessage[] | null }[];
    };
    const tensors = await openSafetensors(`${reference}.safetensors`);
    const ids = (await tensors.read("input_ids")) as BigInt64Array;
    const kept = (await tensors.read("kept")) as Uint8Array;
    await tensors.close();
    const width = ids.length / sequences.length;
    for (const [i, { length, text, messages }] of sequences.entries()) {
      const encoded = messages === null ? encoder.encode({ text }) : encoder.encode({ messages });
      const tokenIds = Uint32Array.from(encoded.tokenIds).slice(0, length);
      expect(Array.from(tokenIds)).toEqual(Array.from(ids.slice(i * width, i * width + length), Number));
      const keep = keepMask({ tokenIds, length }, new Set(folder.facts.specialTokenIds));
      expect(Array.from(keep)).toEqual(Array.from(kept.slice(i * width, i * width + length)));
    }
  });
});

describe("roles", () => {
  it("go by message; what the template writes is its own, content that looks like the template included", () => {
    expect(
      stretches([
        { role: "user", content: "user" },
        { role: "assistant", content: "model\nmodel" },
        { role: "user", content: " héllo 🙂 " },
      ]),
    ).toEqual([
      ["template", "<bos><|turn>user\n"],
      ["user", "user"],
      ["template", "<turn|>\n<|turn>model\n"],
      ["assistant", "model\nmodel"],
      ["template", "<turn|>\n<|turn>user\n"],
      ["user", "héllo 🙂"],
      ["template", "<turn|>\n"],
    ]);
  });

  it("of an answer that is begun: the template's", () => {
    const messages = [{ role: "user", content: "hi" }];
    const plain = encoder.encode({ messages });
    const begun = encoder.encode({ messages, generationPrompt: true });
    const { tokenIds } = encoder.encode({ text: "<|turn>model\n" });
    const ids = [...Array.from(plain.tokenIds), ...Array.from(tokenIds)];
    expect(Array.from(begun.tokenIds)).toEqual(ids);
    expect(begun.roles.slice(plain.roles.length)).toEqual(
      new Uint8Array(tokenIds.length).fill(ROLES.indexOf("template")),
    );
  });

  it("survive a template that rewrites contents: what is still found keeps its role", () => {
    const upper = withTemplate(
      "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}U: {{ m.content | upper }}{% else %}A: {{ m.content }}{% endif %}{{ '\\n' }}{% endfor %}",
    );
    expect(
      stretches(
        [
          { role: "user", content: "shout" },
          { role: "assistant", content: "quietly now" },
        ],
        upper,
      ),
    ).toEqual([
      ["template", "<bos>U: SHOUT\nA:"],
      ["assistant", " quietly now"],
      ["template", "\n"],
    ]);
  });

  it("never include a generation prompt", () => {
    expect(stretches([{ role: "user", content: "hi" }]).at(-1)).toEqual(["template", "<turn|>\n"]);
  });

  it("refuse a role that is not known", () => {
    expect(() => encoder.encode({ messages: [{ role: "wizard", content: "x" }] })).toThrow(/role "wizard"/);
  });
});

describe("a second BOS", () => {
  it("is refused where the template writes two in a row", () => {
    const twice = withTemplate(`{{ bos_token }}${folder.chatTemplate}`);
    expect(() => twice.encode({ messages: [{ role: "user", content: "hi" }] })).toThrow(/second BOS/);
  });

  it("is refused where the template writes one a turn", () => {
    const perTurn = withTemplate("{% for m in messages %}{{ bos_token + m.content }}{% endfor %}");
    const turn = { role: "user", content: "hi" };
    expect(() => perTurn.encode({ messages: [turn] })).not.toThrow();
    expect(() => perTurn.encode({ messages: [turn, turn] })).toThrow(/BOS \(token 2\) 2 times/);
  });

  it("is refused in a text that spells it out twice", () => {
    expect(() => encoder.encode({ text: "<bos><bos>hello" })).toThrow(/second BOS/);
  });
});

describe("a template's limits", () => {
  const hello = { messages: [{ role: "user", content: "hi" }] };

  it("end loops in loops", () => {
    const loops = "{% for a in range(999) %}".repeat(2) + "x" + "{% endfor %}".repeat(2);
    expect(() => withTemplate(loops).encode(hello)).toThrow(/more than \d+ steps/);
  });

  it("refuse long ranges and long output", () => {
    expect(() => withTemplate("{{ range(1000000000) }}").encode(hello)).toThrow(/at most 100000 long/);
    const doubling = `{% set ns = namespace(x='ab') %}${"{% set ns.x = ns.x + ns.x %}".repeat(24)}{{ ns.x }}`;
    expect(() => withTemplate(doubling).encode(hello)).toThrow(/wrote \d+ characters/);
  });

  it("pass on its own refusal, and offer no clock", () => {
    expect(() => withTemplate("{{ raise_exception('no system role') }}").encode(hello)).toThrow(
      /refused: no system role/,
    );
    expect(() =>
      withTemplate("{% if strftime_now is defined %}{{ raise_exception('a clock') }}{% endif %}x").encode(
        hello,
      ),
    ).not.toThrow();
  });
});
