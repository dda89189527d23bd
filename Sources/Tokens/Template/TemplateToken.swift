/// A part of a template: text, or a piece of a tag.
struct TemplateToken: Hashable {
  /// What it is.
  enum Kind: Hashable {
    case text(String)
    /// `{{`
    case outputBegin
    /// `}}`
    case outputEnd
    /// `{%`
    case tagBegin
    /// `%}`
    case tagEnd
    case name(String)
    case string(String)
    case integer(Int)
    case number(Double)
    case symbol(String)
    /// The end of the template.
    case end
  }

  let kind: Kind
  /// The line of the template, from 1.
  let line: Int

  /// The token as messages show it.
  var phrase: String {
    switch kind {
    case .text: "text"
    case .outputBegin: "{{"
    case .outputEnd: "}}"
    case .tagBegin: "{%"
    case .tagEnd: "%}"
    case .name(let name): name
    case .string: "a string"
    case .integer(let value): "\(value)"
    case .number(let value): "\(value)"
    case .symbol(let symbol): symbol
    case .end: "the end of the template"
    }
  }
}
