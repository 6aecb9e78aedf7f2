/** Where text is typed, or a conversation with its roles. Control and Enter send it. */
import { useId } from "preact/hooks";
import type { ChatMessage, LiveInput } from "../../../../src/dashboard/live.ts";
import { ROLES } from "./input.ts";

export interface InputEditorProps {
  readonly input: LiveInput;
  /** the model has a chat template */
  readonly canChat: boolean;
  readonly onChange: (input: LiveInput) => void;
  readonly onSend: () => void;
}

export function InputEditor({ input, canChat, onChange, onSend }: InputEditorProps) {
  const id = useId();
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    onSend();
  };
  return (
    <div class="input-editor">
      {canChat && (
        <div class="segments" role="group" aria-label="Kind of input">
          <button type="button" aria-pressed={input.kind === "text"} onClick={() => onChange(asText(input))}>
            Text
          </button>
          <button type="button" aria-pressed={input.kind === "chat"} onClick={() => onChange(asChat(input))}>
            Chat
          </button>
        </div>
      )}
      {input.kind === "text" ? (
        <label class="field">
          <span>Text</span>
          <textarea
            rows={4}
            spellcheck={false}
            value={input.text}
            onInput={(event) => onChange({ kind: "text", text: event.currentTarget.value })}
            onKeyDown={onKeyDown}
          />
        </label>
      ) : (
        <Messages
          id={id}
          messages={input.messages}
          onChange={(messages) => onChange({ kind: "chat", messages })}
          onKeyDown={onKeyDown}
        />
      )}
    </div>
  );
}

interface MessagesProps {
  readonly id: string;
  readonly messages: readonly ChatMessage[];
  readonly onChange: (messages: readonly ChatMessage[]) => void;
  readonly onKeyDown: (event: KeyboardEvent) => void;
}

function Messages({ id, messages, onChange, onKeyDown }: MessagesProps) {
  const set = (at: number, patch: Partial<ChatMessage>) =>
    onChange(messages.map((message, i) => (i === at ? { ...message, ...patch } : message)));
  const next = messages.at(-1)?.role === "user" ? "assistant" : "user";
  return (
    <div class="messages">
      {messages.map((message, i) => (
        <fieldset key={i} class="message">
          <legend class="unseen">Message {i + 1}</legend>
          <div class="message-head">
            <select
              aria-label={`Role of message ${i + 1}`}
              value={message.role}
              onChange={(event) => set(i, { role: event.currentTarget.value as ChatMessage["role"] })}
            >
              {ROLES.map((role) => (
                <option key={role} value={role}>
                  {role}
                </option>
              ))}
            </select>
            {messages.length > 1 && (
              <button
                type="button"
                class="quiet"
                aria-label={`Remove message ${i + 1}`}
                onClick={() => onChange(messages.filter((_, other) => other !== i))}
              >
                Remove
              </button>
            )}
          </div>
          <textarea
            id={`${id}-${i}`}
            rows={2}
            spellcheck={false}
            aria-label={`Message ${i + 1}`}
            value={message.content}
            onInput={(event) => set(i, { content: event.currentTarget.value })}
            onKeyDown={onKeyDown}
          />
        </fieldset>
      ))}
      <button type="button" onClick={() => onChange([...messages, { role: next, content: "" }])}>
        Add a message
      </button>
    </div>
  );
}

function asText(input: LiveInput): LiveInput {
  return input.kind === "text"
    ? input
    : { kind: "text", text: input.messages.map(({ content }) => content).join("\n") };
}

function asChat(input: LiveInput): LiveInput {
  return input.kind === "chat" ? input : { kind: "chat", messages: [{ role: "user", content: input.text }] };
}
