internal import Architectures
internal import Formats
internal import TensorModel
internal import Tokens
internal import Weights

/// A message of a conversation.
public struct ChatMessage: Sendable, Hashable {
  /// Who says it, in a word that the chat template of the model knows, such as `user`.
  public var role: String
  /// What is said.
  public var content: String

  /// Creates a message.
  public init(role: String, content: String) {
    (self.role, self.content) = (role, content)
  }
}

extension LanguageModel {
  /// The tokens of a conversation as the chat template writes it, up to the start of the answer.
  ///
  /// - Parameters:
  ///   - messages: The messages, in their order.
  ///   - date: The day that a template may write as the current one, such as `2026-11-30`; nil for
  ///     none.
  /// - Returns: The ids of the tokens; none comes before those of the template.
  /// - Throws: `unsupported` without a chat template, or for one or a tokenizer that Pleat does not
  ///   run, `usage` for messages that the template refuses, no message, and a date that is none or
  ///   that the template needs, and what reading the files throws.
  public func tokenize(
    _ messages: [ChatMessage], date: String? = nil
  ) throws(ModelError) -> [Int32] {
    guard !messages.isEmpty else {
      throw ModelError(.usage, "there is no message", expected: "at least one")
    }
    let tokenizer = try tokenizer
    guard let text = try ChatPrompt.text(messages, date: date, model, tokenizer) else {
      throw ModelError(
        .unsupported, "the model has no chat template", file: path,
        expected: "a model with a chat template")
    }
    return tokenizer.encode(text, adding: .none)
  }
}

/// Messages as the chat template of a model writes them, and the tokens that end the answer.
enum ChatPrompt {
  /// The text of messages, up to the start of the answer.
  ///
  /// - Parameters:
  ///   - messages: The messages, in their order.
  ///   - date: The day that the template writes as the current one, such as `2026-11-30`; nil if there
  ///     is none.
  ///   - model: The model with the template.
  ///   - tokenizer: Its tokenizer, which states special tokens.
  /// - Returns: The text; nil if the model has no template.
  /// - Throws: `usage` for a date that is none, what `ChatTemplate` throws, and what reading the files throws.
  static func text(
    _ messages: [ChatMessage], date: String?, _ model: Model, _ tokenizer: Tokenizer
  ) throws(ModelError) -> String? {
    let date = try date.map { text throws(ModelError) in try TemplateDate(text) }
    do throws(ModelError) {
      guard let template = try template(of: model) else { return nil }
      return try ChatTemplate(template).render(
        messages: messages.map { ($0.role, $0.content) }, addGenerationPrompt: true,
        variables: tokenizer.specialTexts.mapValues { .text($0) }, date: date)
    } catch {
      throw error.located(file: model.path)
    }
  }

  private static func template(of model: Model) throws(ModelError) -> String? {
    if model.isGGUF { return ChatTemplates.usual(in: model.catalog.metadata) }
    let templates = try ChatTemplates(model.companionReader)
    guard templates.usual == nil, let other = templates.templates.first else {
      return templates.usual
    }
    throw ModelError(
      .unsupported, "no chat template of the model is the default one", tensor: "chat_template",
      expected: "default", found: other.name, hint: "--raw continues the prompt as it is written")
  }

  /// The tokens that end a text or a turn, as the tokenizer and the model state them.
  ///
  /// `generation_config.json` counts, or else `config.json`; of a GGUF file, its metadata. Throws
  /// what reading them throws.
  static func endIDs(of model: Model, _ tokenizer: Tokenizer?) throws(ModelError) -> Set<Int32> {
    var ids = EndToken.ids(in: try generation(of: model))
    if ids.isEmpty, !model.isGGUF {
      let config = try model.companionReader.object("config.json")
      ids = EndToken.ids(in: TextConfig.merged(config))
    }
    return Set(ids.compactMap { Int32(exactly: $0) } + (tokenizer?.endID.map { [$0] } ?? []))
  }

  /// The tokens that are never chosen, as `suppress_tokens` states them.
  ///
  /// Throws what reading throws.
  static func suppressedIDs(of model: Model) throws(ModelError) -> Set<Int32> {
    let ids = try generation(of: model)["suppress_tokens"]?.array ?? []
    return Set(ids.compactMap(\.int).compactMap { Int32(exactly: $0) })
  }

  /// `generation_config.json`, or what the metadata of a GGUF file states of it.
  private static func generation(of model: Model) throws(ModelError) -> JSONValue {
    guard !model.isGGUF else { return GenerationConfig.document(model.catalog.metadata) ?? .null }
    return try model.companionReader.object("generation_config.json")
  }
}
