import Adapters
import Pleat
import Quantization
import TensorModel
import Testing

/// The name in reports of every transform.
@Suite struct TransformTests {
  private static let grouping = Grouping(
    bits: 4, groupSize: 32, offset: .bias, parameters: .f16)
  private static let change = PairedChange(
    adapter: 0, tensor: 0, operation: .vector(tensor: 0, scale: 1))
  private static let replacement = PairedChange(
    adapter: 0, tensor: 0, operation: .replacement(tensor: 0))

  private func action(_ transform: Transform, on source: Encoding = .plain(.f16)) -> Action {
    let info = TensorInfo(name: "a", shape: Shape(4, 32), encoding: source)
    return TensorWish(info, to: source, transform, "test").action
  }

  @Test("every action is the name of a transform") func names() {
    let quantizer = Schemes.standard.quantizer(Self.grouping)
    let groups = Encoding.grouped(Self.grouping)
    var other = Self.grouping
    other.parameters = .f32
    let found: [Action] = [
      action(.copy), action(.encode([], .groups(quantizer))),
      action(.encode([.add(1)], .plain(.f32))),
      action(.regroup(Self.grouping, offsetMoves: []), on: groups),
      action(.encode([.adapter(Self.change)], .plain(.f16))),
      action(.regroup(other, offsetMoves: []), on: groups),
      action(.encode([.adapter(Self.replacement)], .plain(.f16))), action(.omit),
    ]
    #expect(found == Action.allCases)
  }

  @Test("several changes merge, also after a replacement") func merging() {
    let edits = [RowEdit.adapter(Self.replacement), .adapter(Self.change)]
    #expect(action(.encode(edits, .plain(.f16))) == .merge)
  }

  @Test("moved offsets shift, even if the grouping stays") func shifting() {
    let transform = Transform.regroup(Self.grouping, offsetMoves: [Self.change])
    #expect(action(transform, on: .grouped(Self.grouping)) == .shift)
    #expect(transform.foldsAdapters && transform.adapterEdits.isEmpty)
  }
}
