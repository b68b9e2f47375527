<?php

declare(strict_types=1);

require '/usr/share/php/Symfony/Component/Mailer/Bridge/Mailgun/autoload.php';
require '/usr/share/php/Symfony/Component/HttpClient/autoload.php';

use Symfony\Component\HttpClient\HttpClient;
use Symfony\Component\Mailer\Bridge\Mailgun\Transport\MailgunTransportFactory;
use Symfony\Component\Mailer\Exception\HttpTransportException;
use Symfony\Component\Mailer\Header\MetadataHeader;
use Symfony\Component\Mailer\Header\TagHeader;
use Symfony\Component\Mailer\Mailer;
use Symfony\Component\Mailer\Transport\Dsn;
use Symfony\Component\Mime\Address;
use Symfony\Component\Mime\Email;

const DOMAIN = 'symfony.sender.test';

function transport(string $scheme, ?string $key = null, string $domain = DOMAIN)
{
    [$host, $port] = explode(':', getenv('INTEROP_PROXY'));
    $factory = new MailgunTransportFactory(null, HttpClient::create());

    return $factory->create(new Dsn($scheme, $host, $key ?? getenv('INTEROP_KEY'), $domain, (int) $port));
}

function expect(string $what, $expected, $got): void
{
    if ($expected !== $got) {
        fwrite(STDERR, "FAILED: $what: expected ".var_export($expected, true).', got '.var_export($got, true)."\n");
        exit(1);
    }
}

function email(string $to): Email
{
    return (new Email())->from(new Address('app@'.DOMAIN, 'Wäxwing'))->to($to)->subject('Grüße aus Zürich ✓')->text("Zażółć\n");
}

function refused(string $scheme, Email $email, ?string $key = null, string $domain = DOMAIN): string
{
    try {
        transport($scheme, $key, $domain)->send($email);
    } catch (HttpTransportException $error) {
        return $error->getMessage();
    }
    expect('a mistake', 'refused', 'taken');
}

$domain = HttpClient::create()->request('POST', getenv('INTEROP_URL').'/v4/domains', [
    'auth_basic' => 'api:'.getenv('INTEROP_KEY'),
    'body' => ['name' => DOMAIN],
]);
expect('the domain', 200, $domain->getStatusCode());

foreach (['mailgun+api' => 'parts', 'mailgun+https' => 'whole'] as $scheme => $name) {
    $email = email("$name@verified.test")
        ->addTo(new Address("$name-2@verified.test", 'Zwei'))
        ->cc("$name-cc@verified.test")
        ->bcc("$name-bcc@verified.test")
        ->replyTo('answers@sender.test')
        ->html('<p>Zażółć <img src="cid:logo.png"></p>')
        ->attach(str_repeat(implode('', array_map('chr', range(0, 255))), 12), 'vedhæftet fil.bin', 'application/octet-stream')
        ->embed('not really a picture', 'logo.png', 'image/png');
    $email->getHeaders()->add(new TagHeader('letter'))->add(new MetadataHeader('order', '4711'));
    $email->getHeaders()->addTextHeader('X-Shop', 'Café');
    $option = 'mailgun+api' === $scheme ? 'o:require-tls' : 'X-Mailgun-Require-TLS';
    $email->getHeaders()->addTextHeader($option, 'yes');
    $sent = transport($scheme)->send($email);
    expect("$scheme: the id", 1, preg_match('/^<.+@.+>$/', $sent->getMessageId()));

    $email = email("$name@plain.test");
    $email->getHeaders()->addTextHeader($option, 'yes');
    (new Mailer(transport($scheme)))->send($email);
    echo "$scheme: sent\n";

    expect('a wrong key', 1, preg_match('/401/', refused($scheme, email('one@verified.test'), 'wrong')));
    expect('another domain', 1, preg_match('/Domain not found.*404/', refused($scheme, email('one@verified.test'), null, 'nobody.test')));
    $nonsense = email('one@verified.test');
    $nonsense->getHeaders()->addTextHeader($option, 'perhaps');
    expect('an option', 1, preg_match('/require-tls.*400/i', refused($scheme, $nonsense)));
    echo "$scheme: mistakes are told: wrong key, unknown domain, an option that is neither yes nor no\n";
}
