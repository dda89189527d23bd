import Kernels
import Network
import TestSupport
import Testing
import Weights

/// Laws of the forward pass for each kind of layer.
///
/// The numbers of these architectures are compared with those of transformers in
/// `Tests/Interop/test_architectures.py`.
@Suite struct ArchitectureLawTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let text: [Int32] = (0..<30).map { Int32(($0 * 23 + 5) % ToyDecoder.tokenCount) }

  private func bits(_ matrix: FloatMatrix) -> [[UInt32]] {
    (0..<matrix.rowCount).map { matrix.row($0).bits }
  }

  @Test("no bit depends on threads, other texts, cuts or memory", arguments: ToyDecoder.all)
  func bits(toy: ToyDecoder) throws {
    var decoder = try Decoder(Model.open(try toy.write(to: scratch)))
    var batch = TokenBatch()
    batch.append(Self.text)
    let hidden = try decoder.hidden(batch, by: Workers(count: 1))
    let alone = bits(hidden)
    #expect(hidden.row(29).allSatisfy(\.isFinite) && hidden.row(29).contains { $0 != 0 })
    var others = TokenBatch()
    for part in [Self.text[..<5], Self.text[...], Self.text[9..<20]] { others.append(part) }
    let together = try decoder.hidden(others, by: Workers(count: 3))
    #expect(Array(bits(together)[5..<35]) == alone)

    decoder.kept = KeptWeights(byteLimit: .max)
    let cache = KeyValueCache(decoder.shape, capacity: 30)
    for part in [0..<1, 1..<2, 2..<3, 3..<20, 20..<21, 21..<30] {
      var next = TokenBatch()
      next.append(Self.text[part], firstPosition: cache.count)
      let found = try decoder.hidden(next, cache: cache, by: Workers(count: 2))
      #expect(bits(found) == Array(alone[part]), "\(part)")
    }
    // Tokens that were forgotten leave no trace.
    cache.truncate(to: 12)
    var rest = TokenBatch()
    // States of some tokens before are not there any more.
    let start = cache.count
    #expect(start == 12 || start == 0 && toy.hasStates)
    rest.append(Self.text[start...], firstPosition: start)
    let again = try decoder.hidden(rest, cache: cache, by: Workers(count: 2))
    #expect(bits(again) == Array(alone[start...]))
    // Those before the last pass are.
    cache.truncate(to: start)
    #expect(cache.count == start)
    var last = TokenBatch()
    last.append(Self.text[start..<start + 1], firstPosition: start)
    #expect(
      bits(try decoder.hidden(last, cache: cache, by: Workers(count: 1))) == [alone[start]])
  }
}
