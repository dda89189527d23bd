internal import Bytes
internal import TensorModel

/// A token that a tokenizer looks for before it splits a text.
struct AddedToken {
  /// Its id.
  var id: Int
  /// The text that stands for it.
  var text: String
  /// Whether it steers the model instead of being text.
  var isSpecial: Bool
  /// Whether spaces beside it go, or it must be a word: what llama.cpp has no place for.
  var isParticular: Bool

  /// A token as in the `added_tokens` of tokenizer.json; `id` is given where the key has it.
  ///
  /// Throws `malformed`.
  init(_ value: JSONValue, id: Int? = nil, file: String) throws(ModelError) {
    guard let id = id ?? value["id"]?.int, let text = value["content"]?.string,
      (0...Int(Int32.max)).contains(id), !text.isEmpty
    else {
      throw ModelError(
        .malformed, "an added token is not readable", file: file,
        expected: "an id that is not negative, and a text",
        found: String(JSONWriter.text(value).prefix(100)))
    }
    self.id = id
    self.text = text
    isSpecial = value["special"]?.bool ?? false
    isParticular = ["lstrip", "rstrip", "single_word"].contains { value[$0]?.bool == true }
  }

  /// A token of added_tokens.json, which has texts and ids only.
  init(id: Int, text: String) {
    self.id = id
    self.text = text
    isSpecial = false
    isParticular = false
  }

  /// Whether it is made like the special tokens of models that forget to say that they are.
  ///
  /// The same list as llama.cpp's converter has.
  var looksSpecial: Bool {
    func isBetween(_ start: String, _ end: String) -> Bool {
      text.utf8.starts(with: start.utf8) && text.utf8.reversed().starts(with: end.utf8.reversed())
    }
    return ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(text) || isBetween("<|", "|>")
      || isBetween("<｜", "｜>") || isBetween("<unused", ">")
  }
}
