internal import Bytes
internal import TensorModel

/// A token that a tokenizer finds in a text before it splits the text.
struct AddedToken {
  /// The id of the token.
  var id: Int
  /// The text of the token.
  var text: String
  /// Whether it is a control token instead of text.
  var isSpecial: Bool
  /// Whether it strips adjacent spaces or matches only whole words, which llama.cpp does not support.
  var hasMatchingOptions: Bool

  /// Reads an added token of tokenizer.json; `id` is given if it is the key of the token.
  ///
  /// Throws `malformed`.
  init(_ value: JSONValue, id: Int? = nil, file: String) throws(ModelError) {
    guard let id = id ?? value["id"]?.int, let text = value["content"]?.string,
      (0...Int(Int32.max)).contains(id), !text.isEmpty
    else {
      throw ModelError(
        .malformed, "an added token is invalid", file: file,
        expected: "an id that is not negative, and a text",
        found: String(JSONWriter.text(value).prefix(100)))
    }
    self.id = id
    self.text = text
    isSpecial = value["special"]?.bool ?? false
    hasMatchingOptions = ["lstrip", "rstrip", "single_word"].contains { value[$0]?.bool == true }
  }

  /// Creates a token of added_tokens.json, which states only texts and ids.
  init(id: Int, text: String) {
    self.id = id
    self.text = text
    isSpecial = false
    hasMatchingOptions = false
  }

  /// Whether the text looks like that of a special token.
  ///
  /// Some models do not mark their special tokens. The list is that of llama.cpp's converter.
  var looksSpecial: Bool {
    func isBetween(_ start: String, _ end: String) -> Bool {
      text.utf8.starts(with: start.utf8) && text.utf8.reversed().starts(with: end.utf8.reversed())
    }
    return ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(text) || isBetween("<|", "|>")
      || isBetween("<｜", "｜>") || isBetween("<unused", ">")
  }
}
