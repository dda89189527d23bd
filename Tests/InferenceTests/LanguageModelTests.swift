import Inference
import TestSupport
import Testing

/// Running an opened model, fixtures/tinylm.
///
/// Its logits are compared with those of transformers in `Tests/Interop`.
@Suite struct LanguageModelTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static func model() throws -> LanguageModel {
    try LanguageModel.open(Fixtures.path("tinylm"))
  }

  private static let text: [Int32] = (0..<24).map { Int32(($0 * 977 + 31) % 4096) }

  private func rows(_ logits: Logits) -> [[UInt32]] {
    (0..<logits.rowCount).map { logits[$0].bits }
  }

  @Test("an opened model says what it has") func facts() throws {
    let model = try Self.model()
    #expect(model.vocabularySize == 4096)
    #expect(model.trainedLength == 512)
    #expect(model.endTokens == [2])
    let tokens = try model.tokenize("def main():", beginning: .no)
    #expect(try model.tokenize("def main():", beginning: .yes) == [1] + tokens)
    #expect(try tokens.map { try model.text(of: $0) }.joined() == "def main():")
    #expect(try model.bytes(of: tokens[0]) == Array("def".utf8))
  }

  @Test("tokens that generation_config.json suppresses are never chosen", arguments: [0, 0.5])
  func suppressed(temperature: Double) throws {
    let source = Fixtures.path("tinylm")
    for name in try Files.names(in: source) {
      try scratch.write(try Files.bytes(of: source + "/" + name), as: "model/" + name)
    }
    func tokens() throws -> [Int32] {
      var options = Generation.Options()
      (options.tokenLimit, options.temperature) = (4, temperature)
      let model = try LanguageModel.open(scratch.path("model"))
      return try Generation(of: model, "def", options).run { _ in }.tokens
    }
    let first = try tokens()[0]
    try scratch.write(
      "{\"suppress_tokens\": [\(first), 4096]}", as: "model/generation_config.json")
    let model = try LanguageModel.open(scratch.path("model"))
    #expect(model.suppressedTokens == [first, 4096])
    let others = try tokens()
    #expect(others.count == 4 && !others.contains(first))
  }

  @Test("no bit of a logit depends on how a text is divided") func parts() throws {
    let model = try Self.model()
    let whole = try LanguageContext(of: model, capacity: 24, threadCount: 1)
    let expected = rows(try whole.append(Self.text, logitsOfLast: 24))
    let context = try LanguageContext(of: model, capacity: 30, threadCount: 2)
    var found = rows(try context.append(Array(Self.text[..<7]), logitsOfLast: 7))
    #expect(try context.append(Array(Self.text[7..<9]), logitsOfLast: 0).rowCount == 0)
    found += rows(try context.append(Array(Self.text[9...]), logitsOfLast: 15))
    #expect(found == Array(expected[..<7] + expected[9...]))
    #expect(context.tokenCount == 24)
    // Tokens that come alone are multiplied with weights in memory, if they may stay there.
    for memory in [0, 1 << 20, LanguageModel.defaultMemoryByteCount] {
      let other = try LanguageModel.open(Fixtures.path("tinylm"), memoryByteCount: memory)
      let context = try LanguageContext(of: other, capacity: 24)
      for (token, row) in zip(Self.text, expected) {
        #expect(rows(try context.append([token])) == [row])
      }
    }
    // What is removed leaves no trace.
    try context.truncate(to: 5)
    _ = try context.append([9, 8, 7])
    try context.truncate(to: 5)
    #expect(rows(try context.append(Array(Self.text[5..<10]))) == [expected[9]])
  }

  @Test(
    "a model with states computes again what it forgot",
    arguments: ToyDecoder.all.filter(\.hasStates))
  func states(toy: ToyDecoder) throws {
    let model = try LanguageModel.open(toy.write(to: scratch))
    let text = Self.text.map { $0 % Int32(ToyDecoder.tokenCount) }
    let whole = try LanguageContext(of: model, capacity: 24, threadCount: 1)
    let expected = rows(try whole.append(text, logitsOfLast: 24))
    let context = try LanguageContext(of: model, capacity: 24, threadCount: 2)
    #expect(
      LanguageContext.byteCount(of: model, capacity: 24)
        < 2 * LanguageContext.byteCount(of: model, capacity: 1))
    for cuts in [[0..<20], [0..<9, 9..<10, 10..<20]] {
      for cut in cuts {
        #expect(rows(try context.append(Array(text[cut]))) == [expected[cut.upperBound - 1]])
      }
      // Before the last pass, where states are, and at a place where they are not any more.
      for count in [19, cuts.last?.lowerBound ?? 0, 5] {
        try context.truncate(to: count)
        #expect(context.tokenCount == count)
        #expect(throws: ModelError.self) { try context.append([-1]) }
        let next = Array(text[count..<20])
        #expect(rows(try context.append(next, logitsOfLast: 1)) == [expected[19]])
      }
      try context.truncate(to: 0)
    }
  }

  @Test("the most probable token has the largest logit of its row") func largest() throws {
    let context = try LanguageContext(of: try Self.model(), capacity: 3)
    let logits = try context.append([5, 6, 7], logitsOfLast: 2)
    for row in 0..<2 {
      let numbers = logits[row]
      let largest = numbers.firstIndex(of: try #require(numbers.max()))
      #expect(largest == Int(logits.mostProbableToken(row: row)))
    }
    #expect(logits.mostProbableToken == logits.mostProbableToken(row: 1))
  }

  private func refused(
    _ kind: ModelError.Kind, _ found: String, _ body: () throws -> Void
  ) {
    let error = #expect(throws: ModelError.self) { try body() }
    #expect(error?.kind == kind && error?.found == found, "\(String(describing: error))")
  }

  @Test("what does not fit is refused, and the text stays as it was") func refusals() throws {
    let model = try Self.model()
    let context = try LanguageContext(of: model, capacity: 4)
    let expected = rows(try context.append([1, 2]))
    try context.truncate(to: 1)
    refused(.usage, "4096") { _ = try context.append([3, 4096]) }
    refused(.usage, "-1") { _ = try context.append([-1]) }
    refused(.usage, "4") { _ = try context.append([1, 2, 3, 4]) }
    refused(.usage, "2") { _ = try context.append([1], logitsOfLast: 2) }
    refused(.usage, "-1") { _ = try context.append([1], logitsOfLast: -1) }
    #expect(throws: ModelError.self) { try context.append([]) }
    refused(.usage, "2") { try context.truncate(to: 2) }
    refused(.usage, "-1") { try context.truncate(to: -1) }
    #expect(context.tokenCount == 1)
    #expect(rows(try context.append([2])) == expected)

    refused(.usage, "0") { _ = try LanguageContext(of: model, capacity: 0) }
    refused(.usage, "0") { _ = try LanguageContext(of: model, capacity: 1, threadCount: 0) }
    refused(.limit, "\(Int.max)") { _ = try LanguageContext(of: model, capacity: .max) }
    refused(.usage, "4096") { _ = try model.bytes(of: 4096) }
    refused(.usage, "-1") { _ = try model.bytes(of: -1) }
  }

  @Test("a model without a tokenizer runs, but does not tokenize") func tokensOnly() throws {
    for name in ["config.json", "model.safetensors"] {
      try scratch.write(Fixtures.bytes("tinylm/\(name)"), as: "bare/\(name)")
    }
    let model = try LanguageModel.open(scratch.path("bare"))
    #expect(model.endTokens == [2])
    let context = try LanguageContext(of: model, capacity: 4)
    #expect(try context.append([5]).vocabularySize == 4096)
    for body in [{ _ = try model.tokenize("def") }, { _ = try model.bytes(of: 5) }] {
      let error = #expect(throws: ModelError.self) { try body() }
      #expect(error?.kind == .unsupported)
    }
  }

  @Test("contexts of one model run on several threads at once") func threads() async throws {
    let model = try Self.model()
    let alone = try LanguageContext(of: model, capacity: 24)
    let expected = rows(try alone.append(Self.text))
    try await withThrowingTaskGroup(of: [[UInt32]].self) { group in
      for _ in 0..<4 {
        group.addTask {
          let context = try LanguageContext(of: model, capacity: 24, threadCount: 1)
          var logits = try context.append(Array(Self.text[..<10]))
          for token in Self.text[10...] { logits = try context.append([token]) }
          return self.rows(logits)
        }
      }
      for try await found in group { #expect(found == expected) }
    }
  }

  @Test("a generation takes the most probable tokens, and stops where it is asked to")
  func generation() throws {
    let model = try Self.model()
    var options = Generation.Options()
    options.tokenLimit = 5
    options.usesTemplate = false
    let generation = try Generation(of: model, "def main():", options)
    var text: [UInt8] = []
    let result = try generation.run { text += $0 }
    let context = try LanguageContext(of: model, capacity: 64)
    var logits = try context.append(model.tokenize("def main():"))
    var tokens: [Int32] = []
    for _ in 0..<5 {
      tokens.append(logits.mostProbableToken)
      logits = try context.append([logits.mostProbableToken])
    }
    #expect(result.tokens == tokens && result.end == .tokenLimit)
    #expect(try text == tokens.flatMap { try model.bytes(of: $0) })
    let cancellation = Cancellation()
    cancellation.request()
    #expect(try generation.run(cancellation: cancellation) { _ in }.end == .stopped)

    options.tokenLimit = .max
    let endless = try Generation(of: model, "def main():", options)
    let error = #expect(throws: ModelError.self) { try endless.run { _ in } }
    #expect(error?.kind == .limit)
  }
}
