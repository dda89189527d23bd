import Kernels
import TestSupport
import Testing

/// Records of log probabilities against those of llama-perplexity.
@Suite struct LogProbabilityTests {
  /// Logits, and the bytes that `log_softmax` of llama.cpp's perplexity.cpp makes of them, compiled
  /// alone without fused operations.
  private static let records: [(logits: [Float], bytes: String)] = [
    (
      [0.5, -1.25, 3, 3, -20, 2.984375, -13, 1e-3],
      "80008039482189c1ffd7ffbbffffffff0000bfff000003d0"
    ),
    ([1, 1, 1], "00000000549f8cbf0000000000000000"),
    ([0, -15.9, -16, -16.1, -40], "80008039000080c1ffff9a010000000000000000"),
    (
      (0..<37).map { Float($0 * 37 % 101) / 8 - 6 },
      "c8004839df825ac10000b85e70bd9a19517809d73333eb91a3f0cc4c84abae0766661ec54821ff7fb7dee13a"
        + "999951f87b5432b35c0f146eccccf628ae8765e68f4247a1ffff295ce1ba0a17c2757ad4a4300000"
    ),
  ]

  private func matrix(_ values: [Float]) -> FloatMatrix {
    let matrix = FloatMatrix(rowCount: 1, columnCount: values.count)
    matrix.setRow(0, to: values[...])
    return matrix
  }

  private func hex(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  @Test("records are those of llama-perplexity", arguments: 0..<4)
  func bytes(index: Int) throws {
    let (logits, expected) = Self.records[index]
    let record = try #require(LogProbabilities.record(of: matrix(logits), row: 0))
    #expect(record.count == LogProbabilities.byteCount(tokenCount: logits.count))
    #expect(hex(record) == expected)
  }

  @Test("a record reads back as log probabilities to half a step (seed 71)")
  func readsBack() throws {
    var random = Seeded(71)
    for count in [2, 9, 300] {
      let logits = matrix(random.weights(count, scale: 3))
      let sum = logits.logSumExp(row: 0)
      let record = try #require(LogProbabilities.record(of: logits, row: 0))
      let found = FloatMatrix(rowCount: 1, columnCount: count)
      #expect(LogProbabilities.read(record, record: 0, into: found, row: 0))
      for token in 0..<count {
        let wanted = Double(logits[0, token]) - sum
        let number = LogProbabilities.number(of: token, record, record: 0, tokenCount: count)
        #expect(abs(Double(number) - wanted) < 16.0 / 65535 / 2 + 1e-5)
        #expect(found[0, token] == (number > -16 ? number : -10000))
      }
    }
  }

  @Test("what no logits have is no record, and what is not finite has none")
  func refusals() throws {
    #expect(LogProbabilities.record(of: matrix([1, .infinity]), row: 0) == nil)
    #expect(LogProbabilities.record(of: matrix([.nan, 1]), row: 0) == nil)
    let record = try #require(LogProbabilities.record(of: matrix([1, 2]), row: 0))
    let target = matrix([0, 0])
    for (offset, byte) in [(3, UInt8(0xff)), (7, 0x7f), (3, 0xb9)] {
      var damaged = record
      damaged[offset] = byte
      #expect(!LogProbabilities.read(damaged, record: 0, into: target, row: 0), "\(offset)")
    }
    #expect(target.row(0) == [0, 0])
  }
}
