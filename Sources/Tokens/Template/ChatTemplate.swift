package import TensorModel

/// A chat template: a program in Jinja that writes messages as the text that a model was trained
/// with.
///
/// It is rendered as `apply_chat_template` of transformers does: with `trim_blocks`,
/// `lstrip_blocks`, `break`, `continue` and `generation`, without escapes. Whatever Pleat does not
/// compute is refused by name.
package struct ChatTemplate {
  private let statements: [TemplateStatement]
  /// The largest template that is read, in bytes.
  private static let byteLimit = 1 << 20

  /// Reads a template.
  ///
  /// Throws `malformed` for a text that is not Jinja, `unsupported` for what Pleat does not know,
  /// and `limit` for a template that is too long or too deep.
  package init(_ text: String) throws(ModelError) {
    guard text.utf8.count <= Self.byteLimit else {
      throw ModelError(
        .limit, "the chat template is too long", tensor: "chat_template",
        expected: "at most \(Self.byteLimit) bytes", found: "\(text.utf8.count) bytes")
    }
    statements = try TemplateParser.statements(of: text)
  }

  /// Writes messages as text.
  ///
  /// - Parameters:
  ///   - messages: Who speaks, such as `user`, and what is said.
  ///   - addGenerationPrompt: Whether the start of the model's answer follows.
  ///   - variables: Other variables, such as `bos_token`. There are no tools and documents.
  ///   - date: What `strftime_now` writes; nil refuses it.
  /// - Returns: The text, with special tokens as they are written.
  /// - Throws: `usage` if the template refuses the messages or needs a date, `malformed` for what Jinja refuses,
  ///   too, `unsupported` for what Pleat does not compute, and `limit` for too much work.
  package func render(
    messages: [(role: String, content: String)], addGenerationPrompt: Bool,
    variables: [String: TemplateValue] = [:], date: TemplateDate? = nil
  ) throws(ModelError) -> String {
    let list = messages.map { message in
      var dictionary = TemplateDictionary()
      dictionary["role"] = .text(message.role)
      dictionary["content"] = .text(message.content)
      return TemplateValue.dictionary(dictionary)
    }
    var all = variables.map { ($0.key, $0.value) }
    all += [
      ("messages", .list(list)), ("add_generation_prompt", .bool(addGenerationPrompt)),
      ("tools", .none), ("documents", .none),
    ]
    return try TemplateEvaluator.text(of: statements, all, date: date)
  }
}
