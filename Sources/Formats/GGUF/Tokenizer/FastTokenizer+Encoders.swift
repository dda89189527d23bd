internal import Bytes
internal import TensorModel

extension FastTokenizer {
  /// The tokenizer that transformers makes from the SentencePiece model of XLM-RoBERTa.
  ///
  /// The ids differ from those in the file, as `UnigramTokenizer` says. Throws `malformed`.
  init(
    unigrams model: SentencePieceModel, _ configuration: JSONValue
  ) throws(ModelError) {
    let file = SentencePieceModel.unigramFile
    let mask = SpecialTokens.text(of: "mask", in: configuration) ?? ""
    guard model.pieces.count > 3, !mask.isEmpty else {
      throw ModelError(
        .malformed, "the vocabulary is too small, or there is no mask token", file: file,
        expected: "more than 3 tokens, and a text", found: "\(model.pieces.count), '\(mask)'")
    }
    guard model.characterMap.isEmpty || CharacterMap(model.characterMap) != nil else {
      throw ModelError(.malformed, "the table of characters is damaged", file: file)
    }
    let start = UnigramTokenizer.startTexts
    let pieces = model.pieces.dropFirst(3)
    let tokens = start.map { Array($0.utf8) } + pieces.map(\.text) + [Array(mask.utf8)]
    let added = try ["bos", "pad", "eos", "unk", "mask"].enumerated().map {
      (index, kind) throws(ModelError) in
      let (id, text) = index < start.count ? (index, start[index]) : (tokens.count - 1, mask)
      return try AddedToken(special: text, kind, id: id, configuration, file: file)
    }
    let scheme = configuration["add_prefix_space"]?.bool ?? true ? "always" : "never"
    let metaspace: JSONValue = [
      "type": "Metaspace", "replacement": "▁", "prepend_scheme": .string(scheme), "split": true,
    ]
    func token(_ text: String) -> JSONValue { ["SpecialToken": ["id": .string(text)]] }
    func ids(_ id: Int) -> JSONValue { ["ids": [JSONValue(id)]] }
    try self.init(
      algorithm: "Unigram", tokens: tokens.map { $0[...] },
      scores: start.map { _ in 0 } + pieces.map { Double($0.score) } + [0],
      model: ["unk_id": JSONValue(start.count - 1), "byte_fallback": false],
      parts: [
        "normalizer": model.characterMap.isEmpty
          ? .null
          : [
            "type": "Precompiled",
            "precompiled_charsmap": .string(Base64.encoded(model.characterMap)),
          ],
        "pre_tokenizer": [
          "type": "Sequence", "pretokenizers": [["type": "WhitespaceSplit"], metaspace],
        ],
        "post_processor": [
          "type": "TemplateProcessing",
          "single": [token(start[0]), ["Sequence": ["id": "A"]], token(start[2])],
          "special_tokens": .object([.init(start[0], ids(0)), .init(start[2], ids(2))]),
        ],
        "decoder": metaspace,
      ], added: added, file: file)
  }
}

extension AddedToken {
  /// A special token, with the options that tokenizer_config.json states for its text.
  ///
  /// Throws `malformed`.
  init(
    special text: String, _ kind: String, id: Int, _ configuration: JSONValue, file: String
  ) throws(ModelError) {
    let listed = configuration["added_tokens_decoder"]?.members?.map(\.value) ?? []
    let stated = (listed + [configuration["\(kind)_token"] ?? .null]).first {
      $0["content"]?.string?.hasSameBytes(as: text) == true
    }
    if let stated {
      self = try AddedToken(stated, id: id, file: file)
    } else {
      self.init(id: id, text: text, isSpecial: true)
    }
    isSpecial = true
  }
}
