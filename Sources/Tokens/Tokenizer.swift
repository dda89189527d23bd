internal import Bytes
package import Formats
internal import SystemPackage
package import TensorModel
package import Weights

/// The tokenizer of a model: text to ids of tokens, and back.
///
/// The ids are those of Hugging Face's tokenizers for the same files. Of a GGUF file they are those of
/// the `tokenizer.json` that `pleat convert` writes for it, or of llama.cpp for a model that embeds
/// texts.
package struct Tokenizer: Sendable {
  /// Which tokens are added to a text.
  package enum Additions: Sendable, Hashable {
    /// Those that the tokenizer states, before and after the text.
    case usual
    /// None.
    case none
    /// The token that begins texts, whatever the tokenizer states; none if there is no such token.
    case begin
  }

  /// The number of ids: one more than the largest.
  package let vocabularySize: Int
  /// The token that begins texts; nil if no file states it.
  package let beginID: Int32?
  /// The token that ends texts; nil if no file states it.
  package let endID: Int32?
  /// The texts of special tokens that files state, by keys such as `bos_token`.
  package let specialTexts: [String: String]
  /// The tokens that the tokenizer adds before a text.
  package var usualStart: [Int32] { ends.before }
  /// The tokens that the tokenizer adds after a text.
  package var usualEnd: [Int32] { ends.after }

  private let ends: TextEnds
  private let model: WordModel
  private let normalizer: TextNormalizer
  private let splitter: TextSplitter
  private let added: AddedTokenFinder
  private let normalizedAdded: AddedTokenFinder
  private let texts: TokenTexts

  /// Reads the tokenizer of a model: its files, or the metadata of a GGUF file.
  ///
  /// Throws `unsupported` if there is none, or one of a kind that Pleat does not know; `malformed`,
  /// `limit`, and what reading files throws.
  package init(of model: Model) throws(ModelError) {
    do throws(ModelError) {
      try self.init(
        model.isGGUF
          ? TokenizerDefinition(model.catalog.metadata)
          : TokenizerDefinition(model.companionReader))
    } catch {
      throw error.located(file: model.path)
    }
  }

  /// Opens the tokenizer of a model, or of a folder with the files of a tokenizer and no weights.
  ///
  /// Throws what `init(of:)` and opening a model throw.
  package static func open(_ path: String) throws(ModelError) -> Tokenizer {
    let folder = FilePath(path)
    let files = FileSystem.kind(of: folder) == .folder ? CompanionFiles(in: folder).files : []
    guard files.contains(where: { TokenizerFileKind($0.name) == .vocabulary }) else {
      return try Tokenizer(of: try Model.open(path))
    }
    let companions = CompanionReader(
      names: files.map(\.name), path: { folder.appending($0).string },
      read: { (name) throws(ModelError) in
        guard let file = files.first(where: { $0.name == name }) else { return nil }
        return try InputFile.contents(of: file.path)
      })
    do throws(ModelError) { return try Tokenizer(companions) } catch {
      throw error.located(file: path)
    }
  }

  /// Reads the files of a tokenizer.
  ///
  /// Throws what `init(of:)` throws.
  package init(_ companions: CompanionReader) throws(ModelError) {
    do throws(ModelError) { self = try Tokenizer(TokenizerDefinition(companions)) } catch {
      throw companions.located(error)
    }
  }

  /// Creates a tokenizer from its definition.
  init(_ definition: TokenizerDefinition) throws(ModelError) {
    let fast = definition.fast
    guard !fast.ids.isEmpty else {
      throw ModelError(.malformed, "the vocabulary is empty", file: fast.source)
    }
    model =
      switch fast.algorithm {
      case "Unigram": .unigram(try UnigramModel(fast))
      case "WordPiece": .words(try WordPieceModel(fast))
      default: .merges(try MergeModel(fast))
      }
    let normalizer = try TextNormalizer(fast)
    self.normalizer = normalizer
    splitter = TextSplitter(try SplitStep.steps(of: fast))
    ends = try TextEnds(definition)
    specialTexts = definition.specialTexts
    added = AddedTokenFinder(
      fast.addedTokens.filter { !$0.isNormalized }.map {
        AddedTokenFinder.Token($0, text: Array($0.text.utf8))
      })
    normalizedAdded = AddedTokenFinder(
      fast.addedTokens.filter(\.isNormalized).map {
        AddedTokenFinder.Token($0, text: normalizer.normalized(Array($0.text.utf8)))
      })
    texts = try TokenTexts(fast)
    vocabularySize = texts.count
    let count = texts.count
    guard (ends.before + ends.after).allSatisfy({ $0 < count }) else {
      throw ModelError(
        .malformed, "a token that is added to texts is not in the vocabulary", file: fast.source,
        tensor: "post_processor", expected: "ids below \(count)",
        found: (ends.before + ends.after).max().map { "\($0)" })
    }
    func id(_ kind: String) -> Int32? {
      definition.id(of: kind).flatMap { (0..<count).contains($0) ? Int32($0) : nil }
    }
    beginID = id("bos")
    endID = id("eos")
  }

  // MARK: - Text to tokens

  /// The tokens of a text.
  ///
  /// With `findingSpecialTokens`, special tokens that are written in the text count as such; other
  /// added tokens always do.
  package func encode(
    _ text: String, adding additions: Additions = .usual, findingSpecialTokens: Bool = true
  ) -> [Int32] {
    encode(Array(text.utf8), adding: additions, findingSpecialTokens: findingSpecialTokens)
  }

  /// The tokens of a text in UTF-8; bytes that are not UTF-8 count as U+FFFD.
  package func encode(
    _ bytes: [UInt8], adding additions: Additions = .usual, findingSpecialTokens: Bool = true
  ) -> [Int32] {
    let isValid = (try? UTF8Span(validating: bytes.span)) != nil
    let text = isValid ? bytes : Array(String(decoding: bytes, as: UTF8.self).utf8)
    var work = Work(byteCount: text.count)
    switch additions {
    case .usual: work.ids += ends.before
    case .begin: if let beginID { work.ids.append(beginID) }
    case .none: break
    }
    for part in added.parts(of: text, text.indices, findingSpecial: findingSpecialTokens) {
      if let id = part.id {
        work.ids.append(id)
      } else {
        encode(text, part.range, findingSpecialTokens, &work)
      }
    }
    if additions == .usual { work.ids += ends.after }
    return work.ids
  }

  /// What makes tokens of a word.
  private enum WordModel {
    case merges(MergeModel)
    case unigram(UnigramModel)
    case words(WordPieceModel)
  }

  /// What encoding a text needs.
  private struct Work {
    var ids: [Int32] = []
    var merger = WordMerger()
    var cache: WordCache

    init(byteCount: Int) {
      cache = WordCache(byteCount: byteCount)
      ids.reserveCapacity(byteCount / 3)
    }
  }

  /// Encodes the text between added tokens that are found as written.
  private func encode(
    _ text: [UInt8], _ range: Range<Int>, _ findsSpecial: Bool, _ work: inout Work
  ) {
    let isFirst = range.lowerBound == 0
    if normalizer.isIdentity {
      return encodeNormalized(text, range, isFirst, findsSpecial, &work)
    }
    let normalized = normalizer.normalized(Array(text[range]))
    encodeNormalized(normalized, normalized.indices, isFirst, findsSpecial, &work)
  }

  private func encodeNormalized(
    _ text: [UInt8], _ range: Range<Int>, _ isFirst: Bool, _ findsSpecial: Bool,
    _ work: inout Work
  ) {
    guard !normalizedAdded.isEmpty else { return encodeWords(text, range, isFirst, &work) }
    for part in normalizedAdded.parts(of: text, range, findingSpecial: findsSpecial) {
      if let id = part.id {
        work.ids.append(id)
      } else {
        encodeWords(text, part.range, isFirst && part.range.lowerBound == range.lowerBound, &work)
      }
    }
  }

  /// The models are taken out before the loops, which would otherwise copy the tokenizer each time.
  private func encodeWords(
    _ text: [UInt8], _ range: Range<Int>, _ isFirst: Bool, _ work: inout Work
  ) {
    switch model {
    case .merges(let model):
      splitter.forEachPart(of: text, range, isFirst: isFirst) { text, part in
        Self.forEachWord(of: text, part, model) { word in
          work.cache.append(text, word, to: &work.ids) { ids in
            model.append(text, word, to: &ids, &work.merger)
          }
        }
      }
    case .unigram(let model):
      splitter.forEachPart(of: text, range, isFirst: isFirst) { text, word in
        work.cache.append(text, word, to: &work.ids) { model.append(text, word, to: &$0) }
      }
    case .words(let model):
      splitter.forEachPart(of: text, range, isFirst: isFirst) { text, word in
        work.cache.append(text, word, to: &work.ids) { model.append(text, word, to: &$0) }
      }
    }
  }

  /// Divides a part where no merge crosses, so that frequent words are merged once.
  private static func forEachWord(
    of text: [UInt8], _ part: Range<Int>, _ model: MergeModel, _ body: (Range<Int>) -> Void
  ) {
    guard model.splitsAtMarks else { return body(part) }
    var start = part.lowerBound
    while start < part.upperBound {
      let end = model.wordEnd(text, start, part.upperBound)
      body(start..<end)
      start = end
    }
  }

  // MARK: - Tokens to text

  /// The bytes of the text of a token, which may be a part of a scalar; none for an unknown id.
  package func bytes(of id: Int32) -> [UInt8] { texts.bytes(of: id) }

  /// Whether a token is special, such as the one that ends texts.
  package func isSpecial(_ id: Int32) -> Bool { texts.isSpecial(id) }

  /// The bytes of the text of tokens, without the space that the tokenizer adds before a text.
  package func bytes(of ids: [Int32], leavingOutSpecial: Bool = false) -> [UInt8] {
    var bytes: [UInt8] = []
    for id in ids where !leavingOutSpecial || !isSpecial(id) {
      bytes += bytes.isEmpty ? texts.bytes(ofFirst: id) : texts.bytes(of: id)
    }
    if texts.addsSpace, bytes.first == UInt8(ascii: " ") { bytes.removeFirst() }
    return bytes
  }

  /// Whether the first token of a text begins with a space that does not belong to the text.
  package var addsSpace: Bool { texts.addsSpace }
}
