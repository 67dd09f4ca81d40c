/** A stream without an end, judged while it lasts: numbers come in their order, none is left out; memory is constant. */

export class NumberedStream {
  readonly name: string
  readonly findings: string[] = []
  #sent = 0
  #came = 0
  #again = 0

  constructor(name: string) {
    this.name = name
  }

  get figures() {
    return { sent: this.#sent, came: this.#came, again: this.#again }
  }

  /** All that was acknowledged has come. */
  get isComplete(): boolean {
    return this.#came >= this.#sent
  }

  get next(): number {
    return this.#sent + 1
  }

  acknowledged(number: number): void {
    this.#sent = number
  }

  /** Not necessarily acknowledged yet. What comes again is allowed. */
  received(number: number): void {
    if (number <= this.#came) this.#again++
    else {
      if (number > this.#came + 1) {
        this.findings.push(`lost ${this.name}: ${this.#came + 1} to ${number - 1}`)
      }
      this.#came = number
    }
  }

  end(): readonly string[] {
    const { sent, came } = this.figures
    if (came < sent) this.findings.push(`lost ${this.name}: ${came + 1} to ${sent} at the end`)
    return this.findings
  }
}
