import Kernels
import Network
import TensorModel
import TestSupport
import Testing
import Weights

/// The forward pass of a small trained model, fixtures/tinylm.
///
/// Its logits are compared with those of transformers in `Tests/Interop/test_engine.py`.
@Suite struct DecoderTests {
  private static func decoder() throws -> Decoder {
    try Decoder(Model.open(Fixtures.path("tinylm")))
  }

  private static let text: [Int32] = (0..<70).map { Int32(($0 * 977 + 31) % 4096) }

  private func bits(_ matrix: FloatMatrix, rows: Range<Int>? = nil) -> [[UInt32]] {
    (rows ?? 0..<matrix.rowCount).map { matrix.row($0).bits }
  }

  private func batch(_ texts: [some Collection<Int32>]) -> TokenBatch {
    var batch = TokenBatch()
    for text in texts { batch.append(text) }
    return batch
  }

  @Test("no bit depends on the number of threads", arguments: [2, 8]) func threads(count: Int)
    throws
  {
    let decoder = try Self.decoder()
    let one = try decoder.hidden(batch([Self.text]), by: Workers(count: 1))
    let several = try decoder.hidden(batch([Self.text]), by: Workers(count: count))
    #expect(bits(one) == bits(several))
    let rows = 0..<one.rowCount
    #expect(
      bits(try decoder.logits(of: one, rows: rows, by: Workers(count: 1)))
        == bits(try decoder.logits(of: several, rows: rows, by: Workers(count: count))))
  }

  @Test("no bit depends on other texts, or on how a text is cut") func batches() throws {
    let decoder = try Self.decoder()
    let workers = Workers(count: 2)
    let alone = try decoder.hidden(batch([Self.text]), by: workers)
    let others = [Self.text[..<5], Self.text[...], Self.text[20..<60]]
    let together = try decoder.hidden(batch(others), by: workers)
    #expect(bits(together, rows: 5..<75) == bits(alone))
    let cache = KeyValueCache(decoder.shape, capacity: 70)
    for part in [0..<1, 1..<2, 2..<40, 40..<70] {
      var next = TokenBatch()
      next.append(Self.text[part], firstPosition: cache.count)
      let hidden = try decoder.hidden(next, cache: cache, by: workers)
      #expect(bits(hidden) == bits(alone, rows: part))
    }
    #expect(cache.count == 70)
  }

  @Test(
    "weights that stay in memory change no bit", arguments: [0, 1_000_000, .max], [1, 2])
  func keptWeights(byteLimit: Int, threads: Int) throws {
    var decoder = try Self.decoder()
    let workers = Workers(count: threads)
    let text = Self.text[..<6]
    let expected = try decoder.hidden(batch([text]), by: workers)
    let logits = try decoder.logits(of: expected, rows: 5..<6, by: workers)
    let kept = KeptWeights(byteLimit: byteLimit)
    decoder.kept = kept
    let cache = KeyValueCache(decoder.shape, capacity: 6)
    for row in 0..<6 {
      var next = TokenBatch()
      next.append([text[row]], firstPosition: cache.count)
      let hidden = try decoder.hidden(next, cache: cache, by: workers)
      #expect(bits(hidden) == bits(expected, rows: row..<row + 1))
      if row < 5 { continue }
      #expect(bits(try decoder.logits(of: hidden, rows: 0..<1, by: workers)) == bits(logits))
    }
    #expect(kept.byteCount <= byteLimit)
    #expect((kept.byteCount > 0) == (byteLimit > 0))
  }

  @Test("tokens that do not exist and texts that do not fit are refused") func refusals() throws {
    let decoder = try Self.decoder()
    for token: Int32 in [-1, 4096] {
      #expect(throws: ModelError.self) {
        try decoder.hidden(batch([[token]]), by: Workers(count: 1))
      }
    }
    let cache = KeyValueCache(decoder.shape, capacity: 69)
    let error = #expect(throws: ModelError.self) {
      try decoder.hidden(batch([Self.text]), cache: cache, by: Workers(count: 1))
    }
    #expect(error?.kind == .usage)
  }

  @Test("a run that is asked to stop stops") func stopping() throws {
    let decoder = try Self.decoder()
    let workers = Workers(count: 2) { () throws(ModelError) in
      throw ModelError(.interrupted, "stopped")
    }
    let error = #expect(throws: ModelError.self) {
      try decoder.hidden(batch([Self.text]), by: workers)
    }
    #expect(error?.kind == .interrupted)
  }
}
